//! Favorites, packages, evidence and preferences of the caller, whoever that is: a user or an
//! anonymous session. Another owner's record is not found, for nobody is told that it is there.

use actix_web::HttpResponse;
use sendcat_actors::chance;
use sendcat_actors::failure::{AskError, Concern, failed};
use sendcat_state::machine::{RecordWrite, Records};
use sendcat_state::records::{
    self, Collection, Kept, NewRecord, Record, RecordLimits, RecordRefusal,
};

use super::dispatch::Call;
use super::pages::{self, List};
use super::respond::{self, Refusal};
use crate::config::fixed;
use crate::contract::chat::{Page, ThreadId};
use crate::contract::code::ErrorCode;
use crate::contract::{records as wire, rfc3339};

/// Declares the handlers of each collection.
macro_rules! collections {
    ($($module:ident = $collection:ident;)+) => {
        $(
            /// One collection's handlers.
            pub(super) mod $module {
                use super::{Call, Collection, HttpResponse, Refusal};

                /// A page of what the caller has, the newest first.
                pub(in crate::http) async fn list(call: Call) -> Result<HttpResponse, Refusal> {
                    super::list(call, Collection::$collection).await
                }

                /// Keeps one.
                pub(in crate::http) async fn keep(call: Call) -> Result<HttpResponse, Refusal> {
                    super::keep(call, Collection::$collection).await
                }

                /// Removes one.
                pub(in crate::http) async fn remove(call: Call) -> Result<HttpResponse, Refusal> {
                    super::remove(call, Collection::$collection).await
                }
            }
        )+
    };
}

collections! {
    favorites = Favorites;
    packages = Packages;
    evidence = Evidence;
}

async fn list(call: Call, of: Collection) -> Result<HttpResponse, Refusal> {
    let owner = call.caller()?.owner();
    let limit = pages::limit(&call)?;
    let words = [of.as_str(), owner.as_str()];
    let list = List(&words);
    let after = list.place(&call)?;
    let whose = owner.clone();
    let read = call
        .shared()
        .tree
        .journal
        .read(move |rows| Ok(records::page(rows, of, &whose, after.as_deref(), limit)));
    let page = read.await.map_err(RecordRefusal::Unreadable).and_then(|page| page);
    let page = page.map_err(refused)?;
    let next_cursor = page.next.map(|place| list.cursor(&place));
    let items = page.items.into_iter().map(on_the_wire).collect();
    Ok(respond::json(&Page::<wire::Record> { items, next_cursor }))
}

async fn keep(call: Call, of: Collection) -> Result<HttpResponse, Refusal> {
    let wire::NewRecord { id, data } = wire::NewRecord::read(&call.body)?;
    let now = call.shared().tree.clock.now();
    let made_up = || chance::id(now).to_string();
    let id = id.map_or_else(made_up, String::from);
    let new = NewRecord { owner: call.caller()?.owner(), id, data };
    let kept = transact(&call, move |rows| records::keep(rows, now, of, limits(of), new)).await?;
    Ok(match kept {
        Kept::Made(record) => respond::created(&on_the_wire(record)),
        Kept::Replaced(record) => respond::json(&on_the_wire(record)),
    })
}

async fn remove(call: Call, of: Collection) -> Result<HttpResponse, Refusal> {
    let owner = call.caller()?.owner();
    let id: ThreadId = call.path("id").parse().map_err(|_| Refusal::from(ErrorCode::NotFound))?;
    transact(&call, move |rows| records::remove(rows, of, &owner, id.as_str())).await?;
    Ok(respond::no_content())
}

/// The caller's preferences; empty if none were ever written.
pub(super) async fn preferences(call: Call) -> Result<HttpResponse, Refusal> {
    let owner = call.caller()?.owner();
    let read =
        call.shared().tree.journal.read(move |rows| Ok(records::preferences(rows, &owner))).await;
    let found = read.map_err(RecordRefusal::Unreadable).and_then(|found| found);
    let empty = || wire::Preferences { updated_at: None, data: serde_json::Map::new() };
    Ok(respond::json(&found.map_err(refused)?.map_or_else(empty, preferred)))
}

/// Writes the caller's preferences, all of them.
pub(super) async fn set_preferences(call: Call) -> Result<HttpResponse, Refusal> {
    let wire::NewPreferences { data } = wire::NewPreferences::read(&call.body)?;
    let owner = call.caller()?.owner();
    let now = call.shared().tree.clock.now();
    let limits = RecordLimits { records: 1, data_bytes: fixed::RECORD_BYTES_MAX };
    let set = transact(&call, move |_| records::set_preferences(now, &owner, limits, data));
    Ok(respond::json(&preferred(set.await?)))
}

/// Runs a verb and waits until what it wrote is on disk.
async fn transact<T, F>(call: &Call, verb: F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: FnOnce(&dyn Records) -> Result<(T, Vec<RecordWrite>), RecordRefusal> + Send + 'static,
{
    let done = call.shared().tree.journal.transact(verb).await;
    done.map_err(unwritten)?.map_err(refused)
}

/// The refusal of what could not be made durable.
pub(super) fn unwritten(error: AskError) -> Refusal {
    failed(Concern::Threads, error);
    ErrorCode::StorageUnavailable.into()
}

fn limits(of: Collection) -> RecordLimits {
    let records = match of {
        Collection::Favorites => fixed::FAVORITES_PER_OWNER_MAX,
        Collection::Packages => fixed::PACKAGES_PER_OWNER_MAX,
        Collection::Evidence => fixed::EVIDENCE_PER_OWNER_MAX,
    };
    RecordLimits { records: records as u64, data_bytes: fixed::RECORD_BYTES_MAX }
}

fn refused(refusal: RecordRefusal) -> Refusal {
    match refusal {
        RecordRefusal::NotFound => ErrorCode::NotFound.into(),
        RecordRefusal::Full(what) => respond::full(what),
        RecordRefusal::TooLarge { limit_bytes } => {
            let sentence = format!("The data may have at most {limit_bytes} bytes; send less.");
            Refusal::from(ErrorCode::PayloadTooLarge).saying(sentence)
        }
        RecordRefusal::Unreadable(error) => {
            tracing::error!(%error, "a record could not be read");
            ErrorCode::StorageUnavailable.into()
        }
    }
}

fn on_the_wire(record: Record) -> wire::Record {
    wire::Record {
        id: record.id,
        created_at: rfc3339(record.created_at.as_millis()),
        updated_at: rfc3339(record.updated_at.as_millis()),
        data: record.data,
    }
}

fn preferred(preferences: records::Preferences) -> wire::Preferences {
    let updated_at = Some(rfc3339(preferences.updated_at.as_millis()));
    wire::Preferences { updated_at, data: preferences.data }
}
