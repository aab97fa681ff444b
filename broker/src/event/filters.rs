use std::{panic::AssertUnwindSafe, panic::catch_unwind, sync::Arc};

use arc_swap::ArcSwap;
use jackfield_plugin_api::{Caller, Event, EventFilter, Filtered, SessionInfo};

use crate::telemetry::panics;

/// A plugin's filter.
pub struct NamedFilter {
    /// The plugin.
    pub plugin: Box<str>,
    /// The filter.
    pub filter: Arc<dyn EventFilter>,
}

/// The filters of a service, first asked first.
#[derive(Default)]
pub(super) struct Filters {
    chain: ArcSwap<Vec<NamedFilter>>,
}

impl Filters {
    pub(super) fn replace(&self, chain: Vec<NamedFilter>) {
        self.chain.store(Arc::new(chain));
    }

    /// What the filters make of a fired event; `None`: one dropped it.
    pub(super) fn fired(&self, event: Event) -> Option<Event> {
        let chain = self.chain.load();
        run(chain.iter(), event, |filter, event| filter.fired(event))
    }

    /// Whether some filter wants to see each delivery.
    pub(super) fn see_deliveries(&self) -> bool {
        self.chain.load().iter().any(|named| named.filter.filters_deliveries())
    }

    /// What the filters make of an event for one session; `None`: one dropped it.
    pub(super) fn delivering(&self, event: Event, to: &SessionInfo) -> Option<Event> {
        let chain = self.chain.load();
        let asked = chain.iter().filter(|named| named.filter.filters_deliveries());
        run(asked, event, |filter, event| filter.delivering(event, to))
    }

    pub(super) fn received(&self, event: &Event, from: &Caller) {
        for named in self.chain.load().iter() {
            let told = catch_unwind(AssertUnwindSafe(|| named.filter.received(event, from)));
            if let Err(panic) = told {
                panics::caught_in(&named.plugin, &"event filter", &*panic);
            }
        }
    }
}

/// A filter that panics lets the event pass as it was.
fn run<'a>(
    chain: impl Iterator<Item = &'a NamedFilter>,
    mut event: Event,
    ask: impl Fn(&dyn EventFilter, &Event) -> Filtered,
) -> Option<Event> {
    for named in chain {
        match catch_unwind(AssertUnwindSafe(|| ask(&*named.filter, &event))) {
            Ok(Filtered::Pass) => {}
            Ok(Filtered::Replace(other)) => event = other,
            Ok(Filtered::Drop) => return None,
            Err(panic) => {
                panics::caught_in(&named.plugin, &"event filter", &*panic);
            }
        }
    }
    Some(event)
}
