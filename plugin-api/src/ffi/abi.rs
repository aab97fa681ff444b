//! What crosses the border, laid out as `include/jackfield_plugin.h` says.

use std::{
    ffi::c_void,
    mem::{offset_of, size_of},
    ptr,
};

/// "JACKFLD1" read as a big-endian number.
pub const MAGIC: u64 = 0x4a41_434b_464c_4431;

/// The version of the ABI that this crate speaks. Another major version is another ABI.
pub const ABI_MAJOR: u32 = 1;

/// Counts what was added since the major version. A plugin needs a broker with at least its own.
pub const ABI_MINOR: u32 = 0;

/// The name of the exported table.
pub const SYMBOL: &str = "jackfield_plugin_v1";

/// A library from which no panic escapes.
pub const UNWINDS: u32 = 1;

/// A library in which a panic ends the process.
pub const ABORTS: u32 = 2;

/// [`Caller::flags`]: may do everything.
pub(super) const ADMINISTRATOR: u32 = 1;

/// [`Caller::flags`]: [`Host::caller`] tells more.
pub(super) const MORE: u32 = 2;

/// How a piece of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Status {
    Ok = 0,
    Error = 1,
    Continue = 2,
    Drop = 3,
    Panic = 4,
    Cancelled = 5,
}

impl Status {
    /// `None` for a number that has no meaning.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        let all = [Self::Ok, Self::Error, Self::Continue, Self::Drop, Self::Panic, Self::Cancelled];
        all.into_iter().find(|status| *status as u32 == number)
    }
}

/// Lent text.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Text {
    ptr: *const u8,
    len: usize,
}

impl Text {
    /// No text.
    pub const ABSENT: Self = Self { ptr: ptr::null(), len: 0 };

    /// Lends `text`.
    pub const fn of(text: &str) -> Self {
        Self { ptr: text.as_ptr(), len: text.len() }
    }

    /// Lends text that may be absent.
    pub(super) fn of_some(text: Option<&str>) -> Self {
        text.map_or(Self::ABSENT, Self::of)
    }

    /// The text; `None` where it is absent or no text.
    ///
    /// # Safety
    /// What it points to must be there, unchanged, for as long as `'a`.
    pub(super) unsafe fn get<'a>(self) -> Option<&'a str> {
        // SAFETY: the caller's promise.
        unsafe { self.read() }.ok().flatten()
    }

    /// The text, `None` where it is absent.
    ///
    /// # Errors
    /// When it is no UTF-8, or longer than anything can be.
    ///
    /// # Safety
    /// What it points to must be there, unchanged, for as long as `'a`.
    pub(super) unsafe fn read<'a>(self) -> Result<Option<&'a str>, NoText> {
        if self.ptr.is_null() {
            return Ok(None);
        }
        if isize::try_from(self.len).is_err() {
            return Err(NoText);
        }
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts(self.ptr, self.len) };
        std::str::from_utf8(bytes).map(Some).map_err(|_| NoText)
    }
}

/// What is no text, though it should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoText;

/// How an answer is handed over.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Completion {
    pub(super) ctx: *mut c_void,
    pub(super) done: unsafe extern "C" fn(*mut c_void, u32, Text),
    pub(super) progress: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the ABI says that a completion may be called from any thread.
unsafe impl Send for Completion {}
// SAFETY: `progress` may be called from any thread; `done` is called by its one owner.
unsafe impl Sync for Completion {}

/// Who is asking.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Caller {
    pub(super) connection: u64,
    pub(super) who: u32,
    pub(super) flags: u32,
    pub(super) service: Text,
    pub(super) remote: Text,
    pub(super) user: Text,
    pub(super) session_id: Text,
}

/// A request.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Request {
    pub(super) call: *const c_void,
    pub(super) caller: *const Caller,
    pub(super) class: Text,
    pub(super) subclass: Text,
    pub(super) cmd: Text,
    pub(super) data: Text,
}

/// An event.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Event {
    pub(super) class: Text,
    pub(super) subclass: Text,
    pub(super) kind: Text,
    pub(super) obj_id: Text,
    pub(super) service: Text,
    pub(super) body: Text,
}

/// When a filter is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum When {
    Fired = 0,
    Delivering = 1,
    Received = 2,
}

/// What a plugin may ask of the broker.
#[derive(Debug)]
#[repr(C)]
pub struct Host {
    pub(super) size: u32,
    pub(super) abi_major: u32,
    pub(super) abi_minor: u32,
    pub(super) reserved: u32,
    pub(super) log_level: unsafe extern "C" fn() -> u32,
    pub(super) log: unsafe extern "C" fn(Text, u32, Text, Text, Text),
    pub(super) ask: unsafe extern "C" fn(*mut c_void, Text, Text, *const c_void, Completion) -> u64,
    pub(super) cancel: unsafe extern "C" fn(*mut c_void, u64),
    pub(super) ack: unsafe extern "C" fn(*const c_void),
    pub(super) end_session: unsafe extern "C" fn(*const c_void),
    pub(super) caller: unsafe extern "C" fn(*const c_void, Completion),
    pub(super) counter_add: unsafe extern "C" fn(*mut c_void, u64, u64),
    pub(super) gauge_set: unsafe extern "C" fn(*mut c_void, u64, f64),
}

/// What a library exports under the name [`SYMBOL`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PluginTable {
    pub(super) magic: u64,
    pub(super) size: u32,
    pub(super) abi_major: u32,
    pub(super) abi_minor: u32,
    pub(super) panic_strategy: u32,
    pub(super) toolchain: Text,
    pub(super) manifest: Option<unsafe extern "C" fn(Completion)>,
    pub(super) create: Option<unsafe extern "C" fn(*const Host, *mut c_void, Completion) -> *mut c_void>,
    pub(super) register_all: Option<unsafe extern "C" fn(*mut c_void, Text, Completion)>,
    pub(super) call: Option<unsafe extern "C" fn(*mut c_void, u32, *const Request, Completion) -> u64>,
    pub(super) authenticate: Option<unsafe extern "C" fn(*mut c_void, u32, Text, Text, Completion) -> u64>,
    pub(super) authorize: Option<unsafe extern "C" fn(*mut c_void, u32, Text, Text, Completion) -> u64>,
    pub(super) filter_event:
        Option<unsafe extern "C" fn(*mut c_void, u32, u32, *const Event, Text, Completion)>,
    pub(super) session_changed: Option<unsafe extern "C" fn(*mut c_void, u32, Text)>,
    pub(super) log: Option<unsafe extern "C" fn(*mut c_void, u32, Text, Completion)>,
    pub(super) broker_log: Option<unsafe extern "C" fn(*mut c_void, u32, Text)>,
    pub(super) run: Option<unsafe extern "C" fn(*mut c_void, u32, Completion) -> u64>,
    pub(super) stop: Option<unsafe extern "C" fn(*mut c_void, u64)>,
    pub(super) cancel: Option<unsafe extern "C" fn(*mut c_void, u64)>,
    pub(super) destroy: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the table is constant, and the ABI says that its functions may be called from any thread.
unsafe impl Send for PluginTable {}
// SAFETY: likewise.
unsafe impl Sync for PluginTable {}

// The layout that version 1 promised, on machines with 64-bit pointers: whoever changes it breaks every plugin.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Text>() == 16);
    assert!(size_of::<Completion>() == 24);
    assert!(size_of::<Caller>() == 80 && offset_of!(Caller, service) == 16);
    assert!(size_of::<Request>() == 80 && offset_of!(Request, class) == 16);
    assert!(size_of::<Event>() == 96 && offset_of!(Event, body) == 80);
    assert!(
        size_of::<Host>() == 88 && offset_of!(Host, log_level) == 16 && offset_of!(Host, gauge_set) == 80
    );
    assert!(size_of::<PluginTable>() == 152 && offset_of!(PluginTable, toolchain) == 24);
    assert!(offset_of!(PluginTable, manifest) == 40 && offset_of!(PluginTable, destroy) == 144);
};
