//! Who may reach which events.

use jackfield_plugin_api::{Action, Context, Result, ServiceScope};

/// The scope that `service` names. To reach another service than the caller's own, a permission is asked, which
/// comes before every other check (protocol §7).
pub(super) async fn service(cx: &Context, service: Option<&str>) -> Result<ServiceScope> {
    let Some(name) = service.filter(|name| **name != *cx.caller().service) else {
        return Ok(ServiceScope::Own);
    };
    cx.authorize(Action::Service(name.into())).await?;
    Ok(ServiceScope::from_wire(Some(name)))
}
