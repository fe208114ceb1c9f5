//! Connected mailboxes: who has connected which, up to where it was read, until when it is watched,
//! and whether its owner must still be told that the connection has died.
//!
//! Rules over records, as those of threads are: each verb runs alone on the journal's thread, so
//! two lookers cannot both hold a mailbox, and a question to connect is redeemed once. An owner has
//! one connection; the moment of connecting tells it from an earlier one, so what was begun under
//! one changes nothing of the next.
//!
//! Durability: journalled. The caller hears yes when the rows are on disk.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::machine::{Order, ReadError, RecordWrite, Records, Scan, Table};
use crate::records::{Collection, RecordLimits, Written, decode, decoded, keep_new};
use crate::timestamp::Timestamp;

/// Questions to connect that one owner may have open; an older one gives way to a newer.
pub const ASKING_MAX: usize = 5;

/// A question to connect: what must be known again when the answer comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asking {
    /// What the answer names it by.
    pub nonce: String,
    /// The proof that the answer is ours, sealed.
    pub verifier: String,
    /// Where the answer was to be sent.
    pub redirect: String,
    /// Until when it may be answered.
    pub ends: Timestamp,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mailbox {
    /// Its address, in lower case.
    pub address: String,
    /// The refresh token, sealed.
    pub sealed: String,
    /// When it was connected; tells this connection from an earlier one.
    pub connected_at: Timestamp,
    /// Up to where its history was read.
    pub history_id: u64,
    /// When it was last read to its end.
    pub synced_at: Timestamp,
    /// Until when changes are pushed to us.
    #[serde(default)]
    pub watched_until: Option<Timestamp>,
    /// Who holds it, or is to leave it alone for now.
    #[serde(default)]
    pub held: Option<Held>,
    /// Set when the provider has ended the connection.
    #[serde(default)]
    pub death: Option<Death>,
}

/// A hold on a mailbox. It ends with the process that took it: of its life nobody else is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Until when.
    pub until: Timestamp,
    /// A number that tells one process's life from another's.
    pub by: u64,
}

/// The end of a connection that its owner did not ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// When we learned of it.
    pub at: Timestamp,
    /// Whether the owner was told, or it was given up.
    pub told: bool,
}

/// A mailbox and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Whose.
    pub owner: String,
    /// Which.
    pub mailbox: Mailbox,
}

/// What a read of a mailbox found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Messages: the identifier of their evidence, and what it says.
    pub messages: Vec<(String, Map<String, Value>)>,
    /// Up to where the history is read with them.
    pub history_id: u64,
    /// Whether that was its end.
    pub at_end: bool,
}

/// A verb that nothing speaks against.
type Done<T> = Result<(T, Vec<RecordWrite>), ReadError>;

/// Notes a question to connect.
///
/// # Errors
/// [`ReadError`].
pub fn ask(records: &dyn Records, now: Timestamp, owner: &str, asking: Asking) -> Done<()> {
    let mut open = open_questions(records, now, owner)?;
    if open.len() >= ASKING_MAX {
        open.drain(..=open.len() - ASKING_MAX);
    }
    open.push(asking);
    Ok(((), vec![RecordWrite::put(Table::Askings, owner.as_bytes(), &open)]))
}

/// Takes a question whose answer has come; `None` if it is not open: it was answered before, it is
/// too late, or it never was.
///
/// # Errors
/// [`ReadError`].
pub fn redeem(
    records: &dyn Records,
    now: Timestamp,
    owner: &str,
    nonce: &str,
) -> Done<Option<Asking>> {
    let mut open = open_questions(records, now, owner)?;
    let Some(place) = open.iter().position(|asking| asking.nonce == nonce) else {
        return Ok((None, Vec::new()));
    };
    let asking = open.remove(place);
    let write = if open.is_empty() {
        RecordWrite::remove(Table::Askings, owner.as_bytes())
    } else {
        RecordWrite::put(Table::Askings, owner.as_bytes(), &open)
    };
    Ok((Some(asking), vec![write]))
}

fn open_questions(
    records: &dyn Records,
    now: Timestamp,
    owner: &str,
) -> Result<Vec<Asking>, ReadError> {
    let open: Option<Vec<Asking>> = decoded(records.get(Table::Askings, owner.as_bytes())?)?;
    Ok(open.unwrap_or_default().into_iter().filter(|asking| now < asking.ends).collect())
}

/// Connects a mailbox, in the place of the one that the owner had. The same address is read on from
/// where it was read to: what came while it was not connected is not lost.
///
/// # Errors
/// [`ReadError`].
pub fn connect(
    records: &dyn Records,
    now: Timestamp,
    owner: &str,
    (address, sealed, history_id): (&str, String, u64),
) -> Done<()> {
    let known = get(records, owner)?;
    let mut writes = Vec::new();
    let same = known.as_ref().filter(|known| known.address == address);
    // Two connections of one millisecond would be taken for one.
    let later = known.as_ref().map_or(now, |known| now.max(following(known.connected_at)));
    let mailbox = Mailbox {
        address: address.to_owned(),
        sealed,
        connected_at: later,
        history_id: same.map_or(history_id, |known| known.history_id.min(history_id)),
        synced_at: same.map_or(now, |known| known.synced_at),
        watched_until: None,
        held: None,
        death: None,
    };
    if let (Some(known), None) = (&known, same) {
        writes.push(RecordWrite::remove(Table::MailboxOwners, place(&known.address, owner)));
    }
    writes.push(RecordWrite::put(Table::MailboxOwners, place(address, owner), &()));
    writes.push(write(owner, &mailbox));
    Ok(((), writes))
}

fn following(moment: Timestamp) -> Timestamp {
    Timestamp::from_millis(moment.as_millis().saturating_add(1))
}

/// Ends an owner's connection; what it was, if there was one.
///
/// # Errors
/// [`ReadError`].
pub fn disconnect(records: &dyn Records, owner: &str) -> Done<Option<Mailbox>> {
    let Some(known) = get(records, owner)? else { return Ok((None, Vec::new())) };
    let writes = vec![
        RecordWrite::remove(Table::Mailboxes, owner.as_bytes()),
        RecordWrite::remove(Table::MailboxOwners, place(&known.address, owner)),
    ];
    Ok((Some(known), writes))
}

/// An owner's mailbox.
///
/// # Errors
/// [`ReadError`].
pub fn get(records: &dyn Records, owner: &str) -> Result<Option<Mailbox>, ReadError> {
    decoded(records.get(Table::Mailboxes, owner.as_bytes())?)
}

/// Who has connected an address: at most so many, in the order of their names.
///
/// # Errors
/// [`ReadError`].
pub fn owners_of(
    records: &dyn Records,
    address: &str,
    limit: usize,
) -> Result<Vec<String>, ReadError> {
    let prefix = place(address, "");
    let scan = Scan { prefix: &prefix, beyond: None, order: Order::Ascending, limit };
    let rows = records.scan(Table::MailboxOwners, scan)?;
    rows.into_iter().map(|(key, _)| name(&key[prefix.len()..])).collect()
}

/// Mailboxes of owners beyond `after`: at most so many, in the order of their owners' names.
///
/// # Errors
/// [`ReadError`].
pub fn all(
    records: &dyn Records,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Owned>, ReadError> {
    let beyond = after.map(str::as_bytes);
    let scan = Scan { prefix: &[], beyond, order: Order::Ascending, limit };
    let rows = records.scan(Table::Mailboxes, scan)?;
    rows.into_iter()
        .map(|(key, row)| Ok(Owned { owner: name(&key)?, mailbox: decode(&row)? }))
        .collect()
}

/// Changes a connection, if it is still the one that was made at that moment; what it became, if it
/// is and `change` has changed it.
///
/// # Errors
/// [`ReadError`].
pub fn change(
    records: &dyn Records,
    owner: &str,
    connected_at: Timestamp,
    change: impl FnOnce(&mut Mailbox) -> bool,
) -> Done<Option<Mailbox>> {
    let known = get(records, owner)?.filter(|known| known.connected_at == connected_at);
    let Some(mut mailbox) = known else { return Ok((None, Vec::new())) };
    if !change(&mut mailbox) {
        return Ok((None, Vec::new()));
    }
    let writes = vec![write(owner, &mailbox)];
    Ok((Some(mailbox), writes))
}

impl Mailbox {
    /// Until when it is held in that life of a process, if it is.
    pub fn held_until(&self, now: Timestamp, life: u64) -> Option<Timestamp> {
        let held = self.held.filter(|held| held.by == life && now < held.until);
        held.map(|held| held.until)
    }

    /// Takes hold of it; `false` while it is held.
    pub fn hold(&mut self, now: Timestamp, held: Held) -> bool {
        let free = self.held_until(now, held.by).is_none();
        if free {
            self.held = Some(held);
        }
        free
    }

    /// Notes that the provider has ended it; `false` if that is known.
    pub fn die(&mut self, now: Timestamp) -> bool {
        let lives = self.death.is_none();
        if lives {
            self.death = Some(Death { at: now, told: false });
            self.held = None;
        }
        lives
    }
}

/// Which of these messages an owner has no evidence of.
///
/// # Errors
/// [`ReadError`].
pub fn missing(
    records: &dyn Records,
    owner: &str,
    ids: Vec<String>,
) -> Result<Vec<String>, ReadError> {
    let mut seen = BTreeSet::new();
    let mut missing = Vec::new();
    for id in ids {
        if seen.insert(id.clone())
            && !crate::records::is_kept(records, Collection::Evidence, owner, &id)?
        {
            missing.push(id);
        }
    }
    Ok(missing)
}

/// Keeps what was found as evidence, each message once, and notes up to where it was read; `false`
/// if the connection is another by now, and nothing is kept.
///
/// # Errors
/// [`crate::records::RecordRefusal::Full`] if the owner has no room for all of it; then nothing is
/// kept.
pub fn found(
    records: &dyn Records,
    now: Timestamp,
    (owner, connected_at): (&str, Timestamp),
    limits: RecordLimits,
    found: Found,
) -> Written<bool> {
    let Found { messages, history_id, at_end } = found;
    let moved = |mailbox: &mut Mailbox| {
        mailbox.history_id = mailbox.history_id.max(history_id);
        if at_end {
            mailbox.synced_at = now;
        }
        true
    };
    let (changed, mut writes) = change(records, owner, connected_at, moved)?;
    if changed.is_none() {
        return Ok((false, Vec::new()));
    }
    let (_, kept) = keep_new(records, now, Collection::Evidence, limits, owner, messages)?;
    writes.extend(kept);
    Ok((true, writes))
}

fn write(owner: &str, mailbox: &Mailbox) -> RecordWrite {
    RecordWrite::put(Table::Mailboxes, owner.as_bytes(), mailbox)
}

/// The length stands first, so that no address is the beginning of another's keys.
fn place(address: &str, owner: &str) -> Vec<u8> {
    let length = u16::try_from(address.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), address.as_bytes(), owner.as_bytes()].concat()
}

fn name(key: &[u8]) -> Result<String, ReadError> {
    String::from_utf8(key.to_vec()).map_err(|_| ReadError("an owner's name is no text".into()))
}
