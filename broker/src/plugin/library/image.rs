//! Whether a file can be a plugin's library, as far as that can be told without running anything of it. The system's
//! loader trusts what it opens: a file that ends too early would end the broker.

use object::{
    Architecture, BinaryFormat, Endianness, File, Object, ObjectKind, ObjectSection, ObjectSegment,
    read::NameOrOrdinal,
    read::elf::{ElfFile, FileHeader, ProgramHeader},
};

/// Why a file is no plugin's library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// Something else altogether.
    #[error("it is no shared library{0}")]
    NoLibrary(&'static str),
    /// It says of itself that there is more of it, or makes no sense.
    #[error("it is truncated or damaged: {0}")]
    Damaged(String),
    /// Built for another machine.
    #[error("it was built for {found}, this broker runs on {expected}")]
    Architecture {
        /// The file's.
        found: String,
        /// The broker's.
        expected: &'static str,
    },
    /// It does not have what every plugin has.
    #[error("it does not export the symbol {0}: it is no Jackfield plugin")]
    MissingSymbol(&'static str),
}

/// Looks whether `bytes` are a whole shared library for this machine that exports `symbol`.
///
/// # Errors
/// What is wrong.
pub(super) fn check(bytes: &[u8], symbol: &'static str) -> Result<(), Unfit> {
    let format = object::FileKind::parse(bytes).map_err(|_| Unfit::NoLibrary(text_or_not(bytes)))?;
    let file = File::parse(bytes).map_err(damaged)?;
    if file.format() != BinaryFormat::native_object() {
        return Err(Unfit::Architecture { found: format!("{format:?}"), expected: std::env::consts::OS });
    }
    check_architecture(&file)?;
    if file.kind() != ObjectKind::Dynamic {
        return Err(Unfit::NoLibrary(", but another kind of program file"));
    }
    check_ranges(&file, bytes)?;
    let exports = file.exports().map_err(damaged)?;
    let exports_it = exports.flatten().any(|export| match export.name() {
        // Of a Mach-O file the names begin with an underscore.
        NameOrOrdinal::Name(name) => name.strip_prefix(b"_").unwrap_or(name) == symbol.as_bytes(),
        NameOrOrdinal::Ordinal(_) => false,
    });
    if exports_it { Ok(()) } else { Err(Unfit::MissingSymbol(symbol)) }
}

fn damaged(error: impl std::fmt::Display) -> Unfit {
    Unfit::Damaged(error.to_string())
}

fn text_or_not(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => ", but an empty file",
        _ if std::str::from_utf8(bytes).is_ok() => ", but text",
        _ => "",
    }
}

fn check_architecture(file: &File<'_>) -> Result<(), Unfit> {
    let expected = std::env::consts::ARCH;
    let found = file.architecture();
    let native = match expected {
        "x86_64" => Architecture::X86_64,
        "x86" => Architecture::I386,
        "aarch64" => Architecture::Aarch64,
        "arm" => Architecture::Arm,
        "riscv64" => Architecture::Riscv64,
        "powerpc64" => Architecture::PowerPc64,
        "s390x" => Architecture::S390x,
        "loongarch64" => Architecture::LoongArch64,
        // Unknown here: the system's loader has to say.
        _ => found,
    };
    let little = file.endianness() == Endianness::Little;
    let same_layout =
        file.is_64() == cfg!(target_pointer_width = "64") && little == cfg!(target_endian = "little");
    if found == native && same_layout {
        return Ok(());
    }
    let (bits, order) = (if file.is_64() { 64 } else { 32 }, if little { "little" } else { "big" });
    Err(Unfit::Architecture { found: format!("{found:?}, {bits} bits, {order} endian"), expected })
}

/// Whatever the file says is in it must be in it.
fn check_ranges(file: &File<'_>, bytes: &[u8]) -> Result<(), Unfit> {
    let sections = file.sections().filter_map(|section| section.file_range());
    let segments = file.segments().map(|segment| segment.file_range());
    let headers = program_headers(file);
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    for (start, size) in sections.chain(segments).chain(headers) {
        if start.checked_add(size).is_none_or(|end| end > length) {
            return Err(damaged(format_args!(
                "a part of it ends at byte {}, it has {length}",
                start.saturating_add(size)
            )));
        }
    }
    Ok(())
}

/// The parts that an ELF file's program headers name: among them the dynamic table, which is no segment of its own.
fn program_headers(file: &File<'_>) -> Vec<(u64, u64)> {
    fn ranges<E: FileHeader<Endian = Endianness>>(file: &ElfFile<'_, E>) -> Vec<(u64, u64)> {
        file.elf_program_headers().iter().map(|header| header.file_range(file.endian())).collect()
    }
    match file {
        File::Elf32(file) => ranges(file),
        File::Elf64(file) => ranges(file),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOL: &str = "jackfield_plugin_v1";

    #[test]
    fn what_is_no_library_is_told_apart() {
        assert_eq!(check(b"[service.main]\nplugins = []\n", SYMBOL), Err(Unfit::NoLibrary(", but text")));
        assert_eq!(check(b"", SYMBOL), Err(Unfit::NoLibrary(", but an empty file")));
        assert_eq!(check(&[0xff; 100], SYMBOL), Err(Unfit::NoLibrary("")));
    }

    /// This test's own executable is a program of this machine without the symbol.
    #[test]
    fn a_program_without_the_symbol() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let unfit = check(&own, SYMBOL).unwrap_err();
        assert!(matches!(unfit, Unfit::MissingSymbol(_) | Unfit::NoLibrary(_)), "{unfit}");
        for length in [own.len() - 1, own.len() / 2, 4096, 100, 64, 63] {
            let unfit = check(&own[..length], SYMBOL).unwrap_err();
            assert!(matches!(unfit, Unfit::Damaged(_)), "{length}: {unfit}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_machine() {
        let mut own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        // `e_machine`: SPARC.
        own[18] = 2;
        assert!(matches!(check(&own, SYMBOL), Err(Unfit::Architecture { .. })));
    }
}
