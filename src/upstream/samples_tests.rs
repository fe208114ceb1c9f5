//! Every recorded body of a provider, whole and cut at every byte: what is cut is never taken for
//! an answer, and a refusal stays the refusal that its status says.

use sendcat_state::key::ProviderId;

use super::call::{ReadRefusal, RefusedAnswer};
use super::classify::repeat;
use super::error::UpstreamError;
use super::{ebay, gmail, google, openrouter, serpapi, serper, whatsapp};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/samples/upstream");

/// Every sample whose name ends so, with its bytes.
fn samples(end: &str) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(FOLDER).expect("the samples are there");
    let named = files.map(|file| {
        let path = file.expect("it can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        (name.to_owned(), std::fs::read(&path).expect("it can be read"))
    });
    named.filter(|(name, _)| name.ends_with(end)).collect()
}

fn refusal_of(name: &str) -> ReadRefusal {
    let tables: [(&str, ReadRefusal); 9] = [
        ("ebay-token-", ebay::read_token_refusal),
        ("ebay-", ebay::read_refusal),
        ("gmail-", gmail::read_refusal),
        ("google-", google::read_refusal),
        ("openrouter-", |refused| {
            openrouter::refusal(refused.status, refused.retry_after.as_deref(), &refused.body)
        }),
        ("serpapi-", serpapi::read_refusal),
        ("serper-", serper::read_refusal),
        ("whatsapp-", whatsapp::read_refusal),
        ("resend-", super::resend::read_refusal),
    ];
    let found = tables.into_iter().find(|(begin, _)| name.starts_with(begin));
    found.unwrap_or_else(|| panic!("say what reads the refusal {name}")).1
}

/// The status that a sample's name tells, else 400.
fn status_of(name: &str) -> u16 {
    let words = name.trim_end_matches(".json").split('-');
    words.filter(|word| word.len() == 3).find_map(|word| word.parse().ok()).unwrap_or(400)
}

#[test]
fn a_refusal_that_is_cut_anywhere_says_no_more_than_its_status_or_what_it_says_whole() {
    let mut read = 0;
    for (name, whole) in samples(".json").into_iter().filter(|(name, _)| name.contains("-error-")) {
        let (read_refusal, status) = (refusal_of(&name), status_of(&name));
        let says = |body: &[u8]| {
            let refused = RefusedAnswer { status, retry_after: None, body: body.to_vec() };
            let error = read_refusal(&refused);
            (error.code_name(), format!("{:?}", repeat(&error)))
        };
        let known = [says(&whole), says(b"")];
        for cut in 0..whole.len() {
            let said = says(&whole[..cut]);
            assert!(known.contains(&said), "{name} cut at {cut}: {said:?}, not of {known:?}");
        }
        read += 1;
    }
    assert!(read >= 20, "only {read} samples were found");
}

type ReadAnswer = fn(&[u8]) -> Result<(), UpstreamError>;

/// What reads an answer; nothing of ours asks for those that have none.
fn answer_of(name: &str) -> Option<ReadAnswer> {
    Some(match name {
        "ebay-token.json" => |body| ebay::read_token(body).map(drop),
        "ebay-search.json" | "ebay-search-empty.json" | "ebay-search-warnings.json" => {
            |body| ebay::read_search(body).map(drop)
        }
        "gmail-history.json" | "gmail-history-empty.json" => {
            |body| gmail::read_history(body).map(drop)
        }
        "gmail-profile.json" => |body| google::read_profile(ProviderId::GmailApi, body).map(drop),
        "gmail-watch.json" => |body| gmail::read_watch(body).map(drop),
        "google-token.json" | "google-token-refresh.json" => {
            |body| google::read_grant(body).map(drop)
        }
        "serpapi-empty.json" | "serpapi-google-shopping.json" => {
            |body| serpapi::read_shopping(body).map(drop)
        }
        "serper-search.json" | "serper-search-empty.json" => {
            |body| serper::read_search(body).map(drop)
        }
        "serper-shopping.json" => |body| serper::read_shopping(body).map(drop),
        "whatsapp-send.json" => |body| whatsapp::read_sent(body).map(drop),
        "whatsapp-media.json" => |body| whatsapp::media::read_announced(body).map(drop),
        // Item pages and categories are of calls that we do not make.
        "ebay-item.json"
        | "ebay-category-suggestions.json"
        | "ebay-category-tree-id.json"
        | "ebay-category-tree.json" => return None,
        other => panic!("say what reads the answer {other}"),
    })
}

#[test]
fn an_answer_that_is_cut_anywhere_is_no_answer() {
    let answers = samples(".json").into_iter().filter(|(name, _)| !name.contains("-error-"));
    let mut read = 0;
    for (name, whole) in answers {
        let Some(read_answer) = answer_of(&name) else { continue };
        let text = whole.trim_ascii_end();
        assert!(read_answer(text).is_ok(), "{name} whole");
        for cut in 0..text.len() {
            assert!(read_answer(&text[..cut]).is_err(), "{name} cut at {cut} is taken for whole");
        }
        read += 1;
    }
    assert!(read >= 15, "only {read} samples were found");
}
