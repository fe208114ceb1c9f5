//! Running answers: every reader sees the same parts from the first on, and the writer learns when
//! nobody reads any more.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::failure::AskError;
use sendcat_actors::faults::FaultKind;
use sendcat_actors::stream_log::{AnswerReader, AnswerWriter, OpenError};
use sendcat_actors::tree::Tree;
use sendcat_state::key::TimedId;
use sendcat_state::live_answers::MOST_IN_A_THREAD;
use sendcat_state::stream_log::Append;
use sendcat_state::timestamp::Timestamp;

use crate::support::{Disk, in_virtual_time, millis, once, pass, restarts, settle, tree_on};

const ALL: usize = 1_000_000;

fn id(number: u64) -> TimedId {
    TimedId::new(Timestamp::ZERO, number)
}

async fn open(tree: &Tree, number: u64) -> AnswerWriter {
    tree.answers.open("thread", id(number), 1000).await.unwrap()
}

fn parts(texts: &[&str]) -> Vec<Arc<str>> {
    texts.iter().map(|text| Arc::from(*text)).collect()
}

/// Everything up to the end, in steps of so many bytes.
async fn read_out(mut reader: AnswerReader, step: usize) -> String {
    let mut text = String::new();
    while let Some(parts) = reader.next(step).await {
        parts.iter().for_each(|part| text.push_str(part));
    }
    text
}

#[test]
fn sl1_every_reader_sees_all_parts_in_order_however_late_and_in_whatever_steps() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let writer = open(&tree, 1).await;
        let early = writer.reader();
        let writing = async {
            for number in 0..50 {
                assert_eq!(writer.write(parts(&[&format!("{number},")])), Append::Kept);
                if number % 7 == 0 {
                    pass(millis(1)).await;
                }
            }
            let late = writer.reader();
            writer.write(parts(&["a", "b", "c"]));
            drop(writer);
            late
        };
        let (slow, late) = tokio::join!(read_out(early, 1), writing);
        let late = read_out(late, ALL).await;
        let all: String = (0..50).map(|number| format!("{number},")).collect();
        assert_eq!((slow, late), (format!("{all}abc"), format!("{all}abc")));
    });
}

#[test]
fn the_writer_learns_when_the_last_reader_goes_and_not_before() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let writer = open(&tree, 1).await;
        let (first, second) = (writer.reader(), writer.reader());
        let patience = Duration::from_secs(1);
        drop(first);
        assert!(tokio::time::timeout(patience, writer.abandoned()).await.is_err());
        let leaving = async {
            pass(millis(100)).await;
            drop(second);
        };
        let (abandoned, ()) =
            tokio::join!(tokio::time::timeout(patience, writer.abandoned()), leaving);
        assert!(abandoned.is_ok());
    });
}

#[test]
fn readers_end_when_the_writer_goes_and_a_cancelled_read_loses_nothing() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let writer = open(&tree, 1).await;
        let mut reader = writer.reader();
        for _ in 0..3 {
            assert!(tokio::time::timeout(millis(10), reader.next(ALL)).await.is_err());
        }
        writer.write(parts(&["a", "b"]));
        assert_eq!(reader.next(1).await, Some(parts(&["a"])));
        assert_eq!(reader.ready(ALL), Some(parts(&["b"])));
        assert_eq!(reader.ready(ALL), None);
        drop(writer);
        assert_eq!(reader.next(ALL).await, None);
        assert_eq!(reader.next(ALL).await, None);
    });
}

#[test]
fn a_full_log_keeps_what_fits_and_leaves_room_to_close() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let writer = open(&tree, 1).await;
        let reader = writer.reader();
        let long = "x".repeat(600);
        assert_eq!(writer.write(parts(&["kept", &long, &long])), Append::Full);
        assert_eq!(writer.write_closing(parts(&["[DONE]"])), Append::Kept);
        drop(writer);
        assert_eq!(read_out(reader, ALL).await, format!("kept{long}[DONE]"));
    });
}

#[test]
fn whoever_resumes_is_given_the_newest_answer_that_still_runs() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        assert!(tree.answers.resume("thread").await.unwrap().is_none());
        let (old, new) = (open(&tree, 1).await, open(&tree, 2).await);
        old.write(parts(&["old"]));
        new.write(parts(&["new"]));
        assert!(tree.answers.resume("elsewhere").await.unwrap().is_none());
        let mut resumed = tree.answers.resume("thread").await.unwrap().unwrap();
        assert_eq!(resumed.next(ALL).await, Some(parts(&["new"])));
        drop(new);
        settle().await;
        let mut resumed = tree.answers.resume("thread").await.unwrap().unwrap();
        assert_eq!(resumed.next(ALL).await, Some(parts(&["old"])));
        drop(old);
        settle().await;
        assert!(tree.answers.resume("thread").await.unwrap().is_none());
        pass(millis(300)).await;
        assert_eq!(tree.answers.running(), 0);
    });
}

#[test]
fn a_thread_runs_a_bounded_number_of_answers() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let mut running = Vec::new();
        for number in 0..MOST_IN_A_THREAD as u64 {
            running.push(open(&tree, number).await);
        }
        let refused = tree.answers.open("thread", id(99), 1000).await;
        assert_eq!(refused.err(), Some(OpenError::TooMany));
        running.pop();
        settle().await;
        assert!(tree.answers.open("thread", id(99), 1000).await.is_ok());
    });
}

#[test]
fn answers_go_on_through_the_death_of_their_actor_and_can_be_resumed_after_it() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let (writer, ends) = (open(&tree, 1).await, open(&tree, 2).await);
        let mut reader = writer.reader();
        tree.arm("stream_log", once(FaultKind::PanicTimer));
        pass(millis(300)).await;
        assert_eq!(restarts(&tree, "stream_log"), [("death", 1)]);
        writer.write(parts(&["a"]));
        assert_eq!(reader.next(ALL).await, Some(parts(&["a"])));
        drop(ends);
        settle().await;
        assert!(tree.answers.resume("thread").await.unwrap().is_some());
    });
}

#[test]
fn an_answer_that_crashes_the_actor_at_its_start_holds_no_place() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        tree.arm("stream_log", once(FaultKind::PanicApply));
        let refused = tree.answers.open("thread", id(1), 1000).await.err();
        assert_eq!(refused, Some(OpenError::Unavailable(AskError::Crashed)));
        pass(millis(600)).await;
        assert_eq!(tree.answers.running(), 0);
    });
}

#[test]
fn an_answer_is_told_to_stop_by_name_or_as_the_newest_and_only_while_it_runs() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let (old, new) = (open(&tree, 1).await, open(&tree, 2).await);
        let told = async |writer: &AnswerWriter| {
            tokio::time::timeout(millis(10), writer.stopped()).await.is_ok()
        };
        let stop = async |thread: &str, number: Option<u64>| {
            tree.answers.stop(thread, number.map(id)).await.unwrap()
        };
        assert!(!stop("elsewhere", None).await);
        assert!(!stop("elsewhere", Some(1)).await, "it runs in another thread");
        assert!(!stop("thread", Some(9)).await);
        assert_eq!((told(&old).await, told(&new).await), (false, false));
        assert!(stop("thread", Some(1)).await);
        assert_eq!((told(&old).await, told(&new).await), (true, false));
        assert!(stop("thread", None).await);
        assert!(told(&new).await);
        new.settle();
        assert!(!stop("thread", None).await, "what is being stored is over");
    });
}

#[test]
fn an_answer_that_is_being_stored_is_waited_for_and_then_no_longer_there() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let writer = open(&tree, 1).await;
        let before = tree.answers.resume("thread").await.unwrap().unwrap();
        writer.settle();
        let storing = async {
            pass(millis(100)).await;
            writer.write_closing(parts(&["end"]));
            drop(writer);
        };
        let (resumed, ()) = tokio::join!(tree.answers.resume("thread"), storing);
        assert!(resumed.unwrap().is_none());
        assert_eq!(read_out(before, ALL).await, "end");
    });
}

#[test]
fn a_link_is_no_reader_and_a_replay_is_all_there() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let writer = open(&tree, 1).await;
        let link = writer.reader().link();
        assert!(tokio::time::timeout(millis(10), writer.abandoned()).await.is_ok());
        let linked = link.reader().unwrap();
        writer.write(parts(&["a"]));
        drop(writer);
        assert_eq!(read_out(linked, ALL).await, "a");
        assert!(link.reader().is_none());
        let replayed = AnswerReader::replay(parts(&["a", "b"]));
        assert_eq!(read_out(replayed, 1).await, "ab");
    });
}

#[test]
fn an_answer_whose_end_panicked_is_ended_with_the_next_tick() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let writer = open(&tree, 1).await;
        tree.arm("stream_log", once(FaultKind::PanicDecide));
        drop(writer);
        settle().await;
        assert_eq!(restarts(&tree, "stream_log"), [("decide", 1)]);
        pass(millis(600)).await;
        assert_eq!(tree.answers.running(), 0);
        for number in 2..2 + MOST_IN_A_THREAD as u64 {
            std::mem::forget(open(&tree, number).await);
        }
    });
}

#[test]
fn an_answer_that_ended_while_the_actor_was_deaf_is_ended_by_its_successor() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        tree.arm("stream_log", once(FaultKind::Deaf(millis(2400))));
        let writer = open(&tree, 1).await;
        pass(millis(100)).await;
        drop(writer);
        pass(millis(3000)).await;
        assert_eq!(restarts(&tree, "stream_log"), [("hang", 1)]);
        assert_eq!(tree.answers.running(), 0);
    });
}
