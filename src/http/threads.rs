//! `/api/threads` and below: an owner's threads, and what was said in them, a page at a time.

use actix_web::HttpResponse;
use sendcat_actors::chance;
use sendcat_state::machine::{ReadError, RecordWrite, Records};
use sendcat_state::threads::{
    self, Ending, Message, MessagePage, NewThread, Role, Thread, ThreadLimits, ThreadPage,
    ThreadRefusal,
};

use super::dispatch::Call;
use super::pages::{self, List};
use super::records::unwritten;
use super::respond::{self, Refusal};
use crate::config::fixed;
use crate::contract::chat as wire;
use crate::contract::code::ErrorCode;
use crate::contract::rfc3339;
use crate::contract::threads as wire_threads;

/// A page of the caller's threads, those that were founded last first.
pub(super) async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    let owner = call.caller()?.owner();
    let limit = pages::limit(&call)?;
    let words = ["threads", owner.as_str()];
    let list = List(&words);
    let after = list.place(&call)?;
    let whose = owner.clone();
    let page =
        read(&call, move |rows| threads::owned_page(rows, &whose, after.as_deref(), limit)).await?;
    let ThreadPage { items, next } = page;
    let next_cursor = next.map(|place| list.cursor(&place));
    let items = items.into_iter().map(on_the_wire).collect();
    Ok(respond::json(&wire::Page::<wire_threads::Thread> { items, next_cursor }))
}

/// Founds a thread without a message.
pub(super) async fn create(call: Call) -> Result<HttpResponse, Refusal> {
    let wire_threads::NewThread { id, title } = wire_threads::NewThread::read(&call.body)?;
    let now = call.shared().tree.clock.now();
    let made_up = || chance::id(now).to_string();
    let id = id.map_or_else(made_up, String::from);
    let limits = ThreadLimits {
        threads: fixed::THREADS_PER_OWNER_MAX as u64,
        messages: fixed::MESSAGES_PER_THREAD_MAX as u64,
    };
    let new = NewThread { owner: call.caller()?.owner(), id, title, limits };
    let made = transact(&call, move |rows| threads::create(rows, now, new)).await?;
    Ok(respond::created(&on_the_wire(made)))
}

/// One thread.
pub(super) async fn get(call: Call) -> Result<HttpResponse, Refusal> {
    let (owner, id) = named(&call)?;
    let thread = read(&call, move |rows| threads::get(rows, &owner, &id)).await?;
    Ok(respond::json(&on_the_wire(thread)))
}

/// Calls a thread something else.
pub(super) async fn rename(call: Call) -> Result<HttpResponse, Refusal> {
    let wire_threads::ThreadPatch { title } = wire_threads::ThreadPatch::read(&call.body)?;
    let (owner, id) = named(&call)?;
    let now = call.shared().tree.clock.now();
    let renamed = transact(&call, move |rows| threads::rename(rows, now, &owner, &id, title));
    Ok(respond::json(&on_the_wire(renamed.await?)))
}

/// Deletes a thread with its messages.
pub(super) async fn delete(call: Call) -> Result<HttpResponse, Refusal> {
    let (owner, id) = named(&call)?;
    transact(&call, move |rows| threads::delete(rows, &owner, &id)).await?;
    Ok(respond::no_content())
}

/// A page of a thread's messages, oldest first.
pub(super) async fn messages(call: Call) -> Result<HttpResponse, Refusal> {
    let (owner, id) = named(&call)?;
    let limit = pages::limit(&call)?;
    let words = ["messages", id.as_str()];
    let list = List(&words);
    let after = list.place(&call)?;
    let after = after.map(|place| place.try_into().map_or(u64::MAX, u64::from_be_bytes));
    let thread_id = id.clone();
    let page = read(&call, move |rows| {
        threads::message_page(rows, &owner, &thread_id, after, limit, fixed::PAGE_BYTES_MAX)
    });
    let MessagePage { items, next } = page.await?;
    let next_cursor = next.map(|seq| list.cursor(&seq.to_be_bytes()));
    let items = items.into_iter().map(said).collect();
    Ok(respond::json(&wire::Page::<wire::StoredMessage> { items, next_cursor }))
}

/// The caller, and the thread that the path names.
fn named(call: &Call) -> Result<(String, String), Refusal> {
    let id = call.path("id").parse::<wire::ThreadId>();
    let id = id.map_err(|_| Refusal::from(ErrorCode::NotFound))?;
    Ok((call.caller()?.owner(), id.into()))
}

async fn read<T: Send + 'static>(
    call: &Call,
    of: impl FnOnce(&dyn Records) -> Result<T, ThreadRefusal> + Send + 'static,
) -> Result<T, Refusal> {
    let read = call.shared().tree.journal.read(move |rows| Ok::<_, ReadError>(of(rows))).await;
    read.map_err(ThreadRefusal::Unreadable).and_then(|read| read).map_err(refused)
}

/// Runs a verb and waits until what it wrote is on disk.
async fn transact<T, F>(call: &Call, verb: F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: FnOnce(&dyn Records) -> Result<(T, Vec<RecordWrite>), ThreadRefusal> + Send + 'static,
{
    let done = call.shared().tree.journal.transact(verb).await;
    done.map_err(unwritten)?.map_err(refused)
}

fn on_the_wire(thread: Thread) -> wire_threads::Thread {
    let Thread { id, row } = thread;
    wire_threads::Thread {
        id,
        title: row.title,
        messages: row.messages,
        created_at: rfc3339(row.created_at.as_millis()),
        updated_at: rfc3339(row.updated_at.as_millis()),
    }
}

fn said(message: Message) -> wire::StoredMessage {
    let text = serde_json::json!({"type": "text", "text": message.text});
    wire::StoredMessage {
        id: message.id,
        role: match message.role {
            Role::User => wire::Role::User,
            Role::Assistant => wire::Role::Assistant,
        },
        parts: if message.parts.is_empty() { vec![text] } else { message.parts },
        created_at: rfc3339(message.created_at.as_millis()),
        status: match message.ending {
            Ending::Complete => wire::Ending::Complete,
            Ending::Cut => wire::Ending::Cut,
        },
        code: message.code.and_then(|code| serde_json::from_value(code.into()).ok()),
        metadata: message.metadata,
    }
}

fn refused(refusal: ThreadRefusal) -> Refusal {
    match refusal {
        ThreadRefusal::Forbidden => ErrorCode::Forbidden.into(),
        ThreadRefusal::NotFound(_) => ErrorCode::NotFound.into(),
        ThreadRefusal::Taken => Refusal::from(ErrorCode::Conflict)
            .saying("You have a thread of this name already; take another name."),
        ThreadRefusal::Full(what) => respond::full(what),
        ThreadRefusal::NothingToAnswer => ErrorCode::InvalidRequest.into(),
        ThreadRefusal::Unreadable(error) => {
            tracing::error!(%error, "a thread could not be read");
            ErrorCode::StorageUnavailable.into()
        }
    }
}
