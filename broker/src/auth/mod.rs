//! Who may log in, and do what.

mod administrator;
mod authenticate;
mod authorize;
mod policy;

pub use administrator::Administrator;
pub use authenticate::{Authenticators, Login as LoginOutcome};
pub use authorize::Authorizers;
pub use policy::Policy;
