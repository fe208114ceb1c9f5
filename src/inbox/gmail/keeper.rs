//! Looks after mailboxes that nobody asks about: watches are renewed before they end, what was not
//! pushed is fetched, and owners of dead connections are told.
//!
//! Whoever does something to a mailbox holds it, in its row, for as long as that may take, so two
//! never do the same at once. What failed is left alone for as long as the provider asks, or
//! [`PAUSE`]. Both end with the process: what it was about to do is done by the next one at once.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use sendcat_state::mailboxes::{self, Held, Mailbox, Owned};
use sendcat_state::timestamp::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Mailboxes, Trouble};
use crate::upstream::error::UpstreamError;
use crate::upstream::gmail::{Request, read_watch};
use crate::upstream::resend::{self, Mail};

/// How often mailboxes are looked through, unless there is word of one.
const EVERY: Duration = Duration::from_secs(60);

/// How long a mailbox is held: longer than a renewal takes with its token.
const HOLD: Duration = Duration::from_secs(30);

/// How long what failed is left alone.
const PAUSE: Duration = Duration::from_secs(60);

/// A watch lasts seven days, and is renewed when less than this is left of it: each day.
const RENEW_BEFORE: Duration = Duration::from_secs(6 * 24 * 3600);

/// How long a mailbox may go without being read: pushes are dropped when there are many.
const POLL_AFTER: Duration = Duration::from_secs(15 * 60);

/// Mailboxes that are looked at together.
const PAGE: usize = 100;

const SUBJECT: &str = "Your Gmail connection has ended";

/// What a mailbox needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Its owner has to be told that it died.
    Telling,
    /// Its watch has to be renewed.
    Watching,
    /// It has to be read.
    Reading,
}

/// What a mailbox needs, if anything; `watches`: whether there is a topic to be told through.
fn need(mailbox: &Mailbox, now: Timestamp, watches: bool) -> Option<Need> {
    if let Some(death) = mailbox.death {
        return (!death.told).then_some(Need::Telling);
    }
    let renewed = mailbox.watched_until.is_some_and(|until| now.after(RENEW_BEFORE) < until);
    if watches && !renewed {
        return Some(Need::Watching);
    }
    (mailbox.synced_at.after(POLL_AFTER) <= now).then_some(Need::Reading)
}

impl Mailboxes {
    /// Looks after mailboxes until `stop`.
    pub async fn look_after(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let looked = AssertUnwindSafe(self.look()).catch_unwind();
            let pause = tokio::select! {
                looked = looked => match looked {
                    Ok(Ok(pause)) => pause,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "mailboxes were not looked after");
                        EVERY
                    }
                    Err(_) => EVERY,
                },
                () = stop.cancelled() => return,
            };
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Looks at every mailbox once; after what time it is worth looking again.
    async fn look(&self) -> Result<Duration, Trouble> {
        let mut after: Option<String> = None;
        let mut pause = EVERY;
        loop {
            let beyond = after.clone();
            let page =
                self.read(move |records| mailboxes::all(records, beyond.as_deref(), PAGE)).await?;
            let Some(last) = page.last() else { return Ok(pause) };
            after = Some(last.owner.clone());
            for of in page {
                let now = self.shared.clock.now();
                if let Some(held) = of.mailbox.held_until(now, self.shared.life) {
                    pause = pause.min(now.until(held));
                    continue;
                }
                let watches = self.shared.google.push_topic.is_some();
                if let Some(need) = need(&of.mailbox, now, watches) {
                    self.meet(of, need).await?;
                }
            }
        }
    }

    /// Does what a mailbox needs, if nobody else does.
    async fn meet(&self, of: Owned, need: Need) -> Result<(), Trouble> {
        let now = self.shared.clock.now();
        let ours = Held { until: now.after(HOLD), by: self.shared.life };
        let held = self.changes(&of, move |mailbox| mailbox.hold(now, ours)).await?;
        let Some(mailbox) = held else { return Ok(()) };
        let of = Owned { mailbox, ..of };
        let met = match need {
            Need::Telling => self.tell(&of).await,
            Need::Watching => self.watch(&of).await,
            Need::Reading => self.sync(&of.owner).await,
        };
        let pause = match &met {
            Ok(()) | Err(Trouble::Unconnected) => None,
            Err(trouble) => {
                tracing::warn!(error = %trouble, need = ?need, "a mailbox's need was not met");
                let asked = match trouble {
                    Trouble::Upstream(error) => error.retry_after(),
                    Trouble::Unconnected
                    | Trouble::Unreadable(_)
                    | Trouble::Unwritten(_)
                    | Trouble::Full => None,
                };
                let until = self.shared.clock.now().after(asked.unwrap_or(PAUSE).max(PAUSE));
                Some(Held { until, ..ours })
            }
        };
        let let_go = move |mailbox: &mut Mailbox| {
            // Another may hold it by now.
            let is_ours = mailbox.held == Some(ours);
            if is_ours {
                mailbox.held = pause;
            }
            is_ours
        };
        self.changes(&of, let_go).await.map(|_| ())
    }

    async fn changes(
        &self,
        of: &Owned,
        change: impl FnOnce(&mut Mailbox) -> bool + Send + 'static,
    ) -> Result<Option<Mailbox>, Trouble> {
        let (owner, connected_at) = (of.owner.clone(), of.mailbox.connected_at);
        self.transact(move |records| mailboxes::change(records, &owner, connected_at, change)).await
    }

    async fn watch(&self, of: &Owned) -> Result<(), Trouble> {
        let Some(topic) = &self.shared.google.push_topic else { return Ok(()) };
        let until = self.asks(of, &Request::watch(topic), read_watch).await?;
        let watched = move |mailbox: &mut Mailbox| {
            mailbox.watched_until = Some(until);
            true
        };
        self.changes(of, watched).await?;
        // What came before the watch began is pushed by nobody.
        self.sync(&of.owner).await
    }

    /// Tells an owner that the connection has died, once: under one key, and for as long as the key
    /// is known.
    async fn tell(&self, of: &Owned) -> Result<(), Trouble> {
        let Some(death) = of.mailbox.death else { return Ok(()) };
        let too_late = self.shared.clock.now().since(death.at) >= resend::KEY_LASTS;
        if too_late {
            tracing::error!("the owner of a mailbox was not told that its connection has ended");
        } else if let Err(error) = self.mail(of).await {
            if !matches!(error, UpstreamError::Rejected { .. }) {
                return Err(error.into());
            }
            tracing::error!(%error, "the owner of a mailbox cannot be told");
        }
        let told = move |mailbox: &mut Mailbox| match &mut mailbox.death {
            Some(death) => {
                death.told = true;
                true
            }
            None => false,
        };
        self.changes(of, told).await.map(|_| ())
    }

    async fn mail(&self, of: &Owned) -> Result<(), UpstreamError> {
        let Mailbox { address, connected_at, .. } = &of.mailbox;
        let whose = super::digest(of.owner.as_bytes());
        let key = format!("gmail-ended-{whose}-{}", connected_at.as_millis());
        let text = format!(
            "The connection to the mailbox {address} has ended: Google does not accept it any \
             more, because it was revoked, because the password was changed, or for its age.\n\n\
             New mail is not read until you connect the mailbox again:\n{}\n",
            self.shared.settings_url,
        );
        let mail = Mail { to: address, subject: SUBJECT, text: &text, key: &key };
        let within = ("gmail", self.shared.deadline);
        resend::send(&self.upstream, &self.shared.resend, mail, within).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sendcat_state::mailboxes::Death;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: u32) -> Timestamp {
        Timestamp::ZERO.after(HOUR * hours)
    }

    fn read_at(hours: u32) -> Mailbox {
        Mailbox {
            address: "a@b.c".into(),
            sealed: String::new(),
            connected_at: at(0),
            history_id: 1,
            synced_at: at(hours),
            watched_until: None,
            held: None,
            death: None,
        }
    }

    #[test]
    fn a_watch_is_renewed_each_day_long_before_it_ends() {
        let watched = Mailbox { watched_until: Some(at(7 * 24)), ..read_at(1000) };
        assert_eq!(need(&read_at(1000), at(0), true), Some(Need::Watching));
        assert_eq!(need(&watched, at(0), true), None);
        assert_eq!(need(&watched, at(23), true), None);
        assert_eq!(need(&watched, at(24), true), Some(Need::Watching));
        assert_eq!(need(&watched, at(8 * 24), true), Some(Need::Watching));
        assert_eq!(need(&watched, at(8 * 24), false), None);
    }

    #[test]
    fn a_mailbox_that_nobody_tells_of_is_read_all_the_same() {
        let watched = Mailbox { watched_until: Some(at(7 * 24)), ..read_at(1) };
        let late = at(1).after(POLL_AFTER);
        assert_eq!(need(&watched, late.before(Duration::from_millis(1)), true), None);
        assert_eq!(need(&watched, late, true), Some(Need::Reading));
        assert_eq!(need(&read_at(1), late, false), Some(Need::Reading));
    }

    #[test]
    fn a_dead_connection_needs_one_thing_and_that_once() {
        let dead = |told| Mailbox { death: Some(Death { at: at(0), told }), ..read_at(0) };
        assert_eq!(need(&dead(false), at(5), true), Some(Need::Telling));
        assert_eq!(need(&dead(true), at(500), true), None);
    }
}
