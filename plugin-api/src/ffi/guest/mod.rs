//! The library's side: a [`Plugin`] behind the functions of the C ABI. [`export_plugin!`](crate::export_plugin) is all
//! of it that a plugin's author needs.

mod asking;
mod call;
mod instance;
mod log;
mod shims;

#[cfg(test)]
pub(super) use call::has_spare;

use std::sync::Arc;

use super::abi::{ABI_MAJOR, ABI_MINOR, MAGIC, PluginTable, Text};
use crate::plugin::Plugin;

/// What [`export_plugin!`](crate::export_plugin) exports.
pub trait Export: 'static {
    /// Makes the plugin, anew for each service.
    fn plugin() -> Arc<dyn Plugin>;
}

/// The table of a library that exports `E`; `panic_strategy` is that of the library.
pub const fn table<E: Export>(panic_strategy: u32) -> PluginTable {
    PluginTable {
        magic: MAGIC,
        size: size_of::<PluginTable>() as u32,
        abi_major: ABI_MAJOR,
        abi_minor: ABI_MINOR,
        panic_strategy,
        toolchain: Text::of(concat!(
            env!("JACKFIELD_TOOLCHAIN"),
            ", jackfield-plugin-api ",
            env!("CARGO_PKG_VERSION")
        )),
        manifest: Some(shims::manifest::<E>),
        create: Some(shims::create::<E>),
        register_all: Some(shims::register_all),
        call: Some(shims::call),
        authenticate: Some(shims::authenticate),
        authorize: Some(shims::authorize),
        filter_event: Some(shims::filter_event),
        session_changed: Some(shims::session_changed),
        log: Some(shims::log),
        broker_log: Some(shims::broker_log),
        run: Some(shims::run),
        stop: Some(shims::stop),
        cancel: Some(shims::cancel),
        destroy: Some(shims::destroy),
    }
}

/// Exports a plugin from a library (crate type `cdylib`), which a broker can then load. The expression makes the plugin
/// anew for each service. Once in a library.
///
/// ```
/// use jackfield_plugin_api::{Manifest, Plugin, Registrar, Result, export_plugin, manifest};
///
/// struct Weather;
///
/// impl Plugin for Weather {
///     fn manifest(&self) -> Manifest {
///         manifest!("weather")
///     }
///
///     fn register(&self, _registrar: &mut Registrar) -> Result<()> {
///         Ok(())
///     }
/// }
///
/// export_plugin!(Weather);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($plugin:expr) => {
        const _: () = {
            struct Exported;

            impl $crate::ffi::guest::Export for Exported {
                fn plugin() -> ::std::sync::Arc<dyn $crate::Plugin> {
                    ::std::sync::Arc::new($plugin)
                }
            }

            #[allow(unsafe_code, non_upper_case_globals, reason = "the name that the C ABI wants")]
            #[unsafe(no_mangle)]
            pub static jackfield_plugin_v1: $crate::ffi::PluginTable =
                $crate::ffi::guest::table::<Exported>(if cfg!(panic = "abort") {
                    $crate::ffi::ABORTS
                } else {
                    $crate::ffi::UNWINDS
                });
        };
    };
}
