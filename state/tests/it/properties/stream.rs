//! The stream log against a list of parts.

use std::sync::Arc;

use proptest::prelude::*;
use sendcat_state::stream_log::{Append, StreamLog};

use super::cases;

/// What the writer and the readers do.
#[derive(Clone, Debug)]
enum Ask {
    Append(String),
    Close(String),
    End,
    Read { reader: usize, most_bytes: usize },
}

fn asks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        6 => "[a-z]{0,9}".prop_map(Ask::Append),
        1 => "[a-z]{0,9}".prop_map(Ask::Close),
        1 => Just(Ask::End),
        6 => (0..3_usize, 0..20_usize)
            .prop_map(|(reader, most_bytes)| Ask::Read { reader, most_bytes }),
    ]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn sl1_what_was_sent_is_a_prefix_of_what_was_kept(
        limit in 0..60_usize,
        asks in prop::collection::vec(asks(), 1..60),
    ) {
        let mut log = StreamLog::new(limit);
        let (mut kept, mut ended) = (Vec::<String>::new(), false);
        let mut sent: [Vec<String>; 3] = Default::default();
        for ask in asks {
            let bytes: usize = kept.iter().map(String::len).sum();
            match ask {
                Ask::Append(part) => {
                    let answer = log.append(part.as_str().into());
                    let fits = bytes + part.len() <= limit;
                    let expected = match (ended, fits) {
                        (true, _) => Append::Ended,
                        (false, true) => Append::Kept,
                        (false, false) => Append::Full,
                    };
                    prop_assert_eq!(answer, expected);
                    kept.extend((answer == Append::Kept).then_some(part));
                }
                Ask::Close(part) => {
                    let answer = log.append_closing(part.as_str().into());
                    prop_assert_eq!(answer == Append::Kept, !ended, "closing parts always fit");
                    kept.extend((answer == Append::Kept).then_some(part));
                }
                Ask::End => {
                    log.end();
                    ended = true;
                }
                Ask::Read { reader, most_bytes } => {
                    let parts: &[Arc<str>] = log.read(sent[reader].len(), most_bytes);
                    let size: usize = parts.iter().map(|part| part.len()).sum();
                    prop_assert!(parts.len() <= 1 || size <= most_bytes);
                    prop_assert_eq!(parts.is_empty(), sent[reader].len() == kept.len());
                    sent[reader].extend(parts.iter().map(ToString::to_string));
                }
            }
            for sent in &sent {
                prop_assert_eq!(sent.as_slice(), &kept[..sent.len()]);
            }
            prop_assert_eq!((log.len(), log.has_ended()), (kept.len(), ended));
            prop_assert_eq!(log.bytes(), kept.iter().map(String::len).sum::<usize>());
        }
    }
}
