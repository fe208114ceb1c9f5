//! A provider's byte stream as the data of its server-sent events.
//!
//! `eventsource-stream` reads fields and joins data lines. What it must not be given is kept from
//! it here: it panics on a byte order mark, holds invalid UTF-8 back until the stream ends, and
//! buffers a line without an end for ever. So it is handed one whole line at a time, without the
//! mark, ended by one line feed, valid UTF-8 (what is not becomes U+FFFD, as in browsers), and
//! never more than [`MAX_EVENT_BYTES`] between two blank lines.
//!
//! # Always
//! - Where the provider's bytes were cut into chunks changes nothing.
//! - Comments and events without data are not events; an unfinished last event is dropped.
//! - After an error the stream is over.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use eventsource_stream::{EventStream, EventStreamError};
use futures_util::Stream;

/// The most bytes of one event, of its comments, and of one line: 1 MiB. Real chunks have less
/// than 1 KiB; a whole tool call in one delta can have some hundred.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// Why a stream of events ended early.
#[derive(Debug, thiserror::Error)]
pub enum SseError<E> {
    /// The bytes themselves ended early.
    #[error("the stream of bytes broke")]
    Transport(#[source] E),
    /// Nothing that long is a chunk of an answer.
    #[error("an event of more than {MAX_EVENT_BYTES} bytes")]
    TooLong,
    /// The events cannot be told apart.
    #[error("not a stream of events")]
    Malformed,
}

/// The data of each event, in order; never empty.
pub fn data_events<S, E>(bytes: S) -> DataEvents<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    DataEvents { events: EventStream::new(Lines::new(bytes)), over: false }
}

/// See [`data_events`].
pub struct DataEvents<S> {
    events: EventStream<Lines<S>>,
    over: bool,
}

impl<S, E> Stream for DataEvents<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<String, SseError<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while !this.over {
            let error = match std::task::ready!(Pin::new(&mut this.events).poll_next(cx)) {
                Some(Ok(event)) if event.data.is_empty() => continue,
                Some(Ok(event)) => return Poll::Ready(Some(Ok(event.data))),
                None => break,
                Some(Err(EventStreamError::Transport(error))) => error,
                Some(Err(EventStreamError::Utf8(_) | EventStreamError::Parser(_))) => {
                    SseError::Malformed
                }
            };
            this.over = true;
            return Poll::Ready(Some(Err(error)));
        }
        this.over = true;
        Poll::Ready(None)
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whole lines, each ended by one line feed.
struct Lines<S> {
    bytes: S,
    /// What arrived and was not handed on.
    chunk: Bytes,
    /// The beginning of a line whose end did not arrive.
    held: BytesMut,
    /// Bytes since the last blank line.
    event_bytes: usize,
    /// The last line ended in a carriage return, so a line feed may still belong to it.
    after_return: bool,
    /// The first line was handed on, so a byte order mark is text.
    begun: bool,
}

impl<S> Lines<S> {
    fn new(bytes: S) -> Self {
        Self {
            bytes,
            chunk: Bytes::new(),
            held: BytesMut::new(),
            event_bytes: 0,
            after_return: false,
            begun: false,
        }
    }

    /// The next line, if its end has arrived; `None` beyond the bound.
    fn next_line(&mut self) -> Result<Option<Bytes>, TooLong> {
        if self.after_return && !self.chunk.is_empty() {
            self.after_return = false;
            if self.chunk[0] == b'\n' {
                let _ = self.chunk.split_to(1);
            }
        }
        let Some(end) = self.chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.held.extend_from_slice(&self.chunk);
            self.chunk.clear();
            self.count(self.held.len())?;
            return Ok(None);
        };
        let line = self.chunk.split_to(end + 1);
        self.after_return = line[end] == b'\r';
        let line = if self.held.is_empty() && !self.after_return {
            line
        } else {
            self.held.extend_from_slice(&line[..end]);
            self.held.extend_from_slice(b"\n");
            self.held.split().freeze()
        };
        let line = self.without_mark(line);
        if line.len() == 1 {
            self.event_bytes = 0;
        } else {
            self.event_bytes = self.count(line.len())?;
        }
        Ok(Some(valid(line)))
    }

    /// The bytes of the event with `more`, if they are within the bound.
    fn count(&self, more: usize) -> Result<usize, TooLong> {
        let bytes = self.event_bytes + more;
        if bytes > MAX_EVENT_BYTES { Err(TooLong) } else { Ok(bytes) }
    }

    fn without_mark(&mut self, mut line: Bytes) -> Bytes {
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(BYTE_ORDER_MARK) {
            return line.split_off(BYTE_ORDER_MARK.len());
        }
        line
    }
}

struct TooLong;

fn valid(line: Bytes) -> Bytes {
    match String::from_utf8_lossy(&line) {
        std::borrow::Cow::Borrowed(_) => line,
        std::borrow::Cow::Owned(repaired) => Bytes::from(repaired),
    }
}

impl<S, E> Stream for Lines<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Bytes, SseError<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.next_line() {
                Ok(Some(line)) => return Poll::Ready(Some(Ok(line))),
                Err(TooLong) => return Poll::Ready(Some(Err(SseError::TooLong))),
                Ok(None) => {}
            }
            match std::task::ready!(Pin::new(&mut this.bytes).poll_next(cx)) {
                Some(Ok(chunk)) => this.chunk = chunk,
                Some(Err(error)) => return Poll::Ready(Some(Err(SseError::Transport(error)))),
                None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    type Read = Vec<Result<String, String>>;

    /// What is read when the bytes arrive in these chunks. Nothing here ever has to wait.
    fn read(chunks: &[&[u8]]) -> Read {
        let chunks: Vec<Result<Bytes, std::io::Error>> =
            chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        data_events(stream::iter(chunks))
            .map(|event| event.map_err(|error| error.to_string()))
            .collect()
            .now_or_never()
            .expect("the bytes are all there")
    }

    fn events(of: &[&str]) -> Read {
        of.iter().map(|data| Ok((*data).to_owned())).collect()
    }

    fn samples() -> Vec<(String, Vec<u8>)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/samples/upstream");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let streams = paths.filter(|path| path.extension().is_some_and(|kind| kind == "sse"));
        streams.map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
    }

    #[test]
    fn every_sample_cut_at_every_byte_gives_the_same_events() {
        assert!(samples().len() >= 6);
        for (name, bytes) in samples() {
            let whole = read(&[&bytes]);
            assert!(whole.len() > 2, "{name}");
            for cut in 0..=bytes.len() {
                let (before, after) = bytes.split_at(cut);
                assert_eq!(read(&[before, after]), whole, "{name} cut at {cut}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&single), whole, "{name} byte by byte");
        }
    }

    #[test]
    fn comments_marks_and_all_line_ends_are_understood() {
        let expected = events(&["a", "b\nc", "[DONE]"]);
        let text = "\u{feff}data: a\n\n: note\n\n:\nevent: x\nid: 7\ndata:b\ndata: c\n\n\
                    data\n\nretry: 1\n\ndata: [DONE]\n\n";
        assert_eq!(read(&[text.as_bytes()]), expected);
        for end in ["\r\n", "\r"] {
            let other = text.replace('\n', end);
            for cut in 0..=other.len() {
                let (before, after) = other.as_bytes().split_at(cut);
                assert_eq!(read(&[before, after]), expected, "{end:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn an_unfinished_last_event_is_dropped() {
        assert_eq!(read(&[b"data: a\n\ndata: b\n"]), events(&["a"]));
        assert_eq!(read(&[b"data: a\n\ndata: b"]), events(&["a"]));
        assert_eq!(read(&[]), events(&[]));
    }

    #[test]
    fn invalid_utf8_is_replaced_and_holds_nothing_up() {
        assert_eq!(read(&[b"data: \xff\n\ndata: b\n\n"]), events(&["\u{fffd}", "b"]));
    }

    #[test]
    fn an_event_without_end_is_refused_before_it_fills_the_memory() {
        let line = [b"data: ".as_slice(), &vec![b'x'; MAX_EVENT_BYTES]].concat();
        let too_long = vec![Err("an event of more than 1048576 bytes".to_owned())];
        assert_eq!(read(&[&line]), too_long);
        let lines = b"data: x\r\n".repeat(MAX_EVENT_BYTES / 8 + 1);
        assert_eq!(read(&[&lines]), too_long);
        let mut fits = [b"data: ".as_slice(), &vec![b'x'; MAX_EVENT_BYTES - 7]].concat();
        fits.extend_from_slice(b"\n\ndata: b\n\n");
        assert_eq!(read(&[&fits]).len(), 2);
    }

    #[test]
    fn a_broken_connection_is_the_last_thing_told() {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let chunks = vec![Ok(Bytes::from("data: a\n\ndata: b")), Err(broken), Ok("\n\n".into())];
        let mut read = data_events(stream::iter(chunks));
        let mut next = || read.next().now_or_never().unwrap();
        assert_eq!(next().unwrap().unwrap(), "a");
        assert!(matches!(next(), Some(Err(SseError::Transport(_)))));
        assert!(next().is_none() && next().is_none());
    }
}
