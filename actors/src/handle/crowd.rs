//! Messages that say nothing, to fill a mailbox with.

use std::sync::Arc;

use super::{Cell, DepthPermit, Envelope};
use crate::machine::Machine;

impl<M: Machine> Cell<M> {
    /// Posts a message that says nothing, through the gate like any other; `false` if it is full.
    pub(crate) fn post_nothing(&self) -> bool {
        let now = self.around.clock.now();
        let Some(era) = self.vitals.enter_below(M::QUEUE_CAP, now) else { return false };
        let permit = DepthPermit { vitals: Arc::clone(&self.vitals), era };
        let (body, told, offered) = (None, None, None);
        self.post(Envelope { body, asked_at: now, told, offered, _permit: permit });
        true
    }
}
