//! The error codes of protocol.md §3, by name.

pub const INTERNAL_ERROR_REF: i64 = 100_003;
pub const TIMEOUT: i64 = 100_005;
pub const NOT_IMPLEMENTED: i64 = 100_006;
pub const SERVICE_NOT_FOUND: i64 = 100_020;
pub const UNAUTHORIZED: i64 = 100_030;
pub const NOT_AUTHENTICATED: i64 = 100_031;
pub const ALREADY_AUTHENTICATED: i64 = 100_032;
pub const USER_NOT_FOUND: i64 = 100_033;
pub const DUPLICATED_SESSION_ID: i64 = 100_034;
pub const INVALID_SESSION_ID: i64 = 100_035;
pub const INVALID_OPERATION: i64 = 100_040;
pub const UNKNOWN_COMMAND: i64 = 100_042;
pub const SYNTAX_ERROR: i64 = 100_044;
pub const MISSING_FIELD: i64 = 100_045;
pub const INVALID_VALUE: i64 = 100_046;
pub const INVALID_REPLY: i64 = 100_047;
pub const SESSION_TIMEOUT: i64 = 100_060;
pub const SESSION_STOP: i64 = 100_061;
pub const SESSION_NOT_FOUND: i64 = 100_062;
pub const MESSAGE_TOO_LARGE: i64 = 100_080;
pub const RATE_LIMITED: i64 = 100_081;
pub const SLOW_CONSUMER: i64 = 100_082;
pub const SHUTTING_DOWN: i64 = 100_083;
pub const PLUGIN_UNAVAILABLE: i64 = 100_084;
pub const TOO_MANY_REQUESTS: i64 = 100_085;
pub const LIMIT_EXCEEDED: i64 = 100_086;
