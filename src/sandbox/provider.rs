//! The providers by name, and the table of their stand-ins.
//!
//! The names are those of INTERFACE.md §6. They are written out here once more, for this room
//! shares no code with what calls it.

use super::ask::Ask;
use super::reply::Reply;
use super::{ebay, gmail, google, openrouter, resend, sentry, serpapi, serper, whatsapp};

/// One provider's stand-in.
pub(super) struct StandIn {
    /// The name in `/_control`.
    pub(super) name: &'static str,
    /// The first segment of its paths.
    pub(super) prefix: &'static str,
    /// What it answers when all is well.
    pub(super) answer: fn(&Ask<'_>) -> Reply,
    /// An error of that status in the provider's own shape.
    pub(super) refuse: fn(u16) -> Reply,
}

/// Every stand-in, in the order of the names in INTERFACE.md §6.
pub(super) const STAND_INS: &[StandIn] = &[
    StandIn {
        name: "openrouter_chat",
        prefix: "openrouter",
        answer: openrouter::answer,
        refuse: openrouter::refuse,
    },
    StandIn {
        name: "serper_search",
        prefix: "serper",
        answer: serper::answer,
        refuse: serper::refuse,
    },
    StandIn {
        name: "gmail_oauth",
        prefix: "google",
        answer: google::answer,
        refuse: google::refuse,
    },
    StandIn {
        name: "serpapi_shopping",
        prefix: "serpapi",
        answer: serpapi::answer,
        refuse: serpapi::refuse,
    },
    StandIn { name: "ebay_browse", prefix: "ebay", answer: ebay::answer, refuse: ebay::refuse },
    StandIn { name: "gmail_api", prefix: "gmail", answer: gmail::answer, refuse: gmail::refuse },
    StandIn {
        name: "whatsapp_graph",
        prefix: "graph",
        answer: whatsapp::answer,
        refuse: whatsapp::refuse,
    },
    StandIn {
        name: "resend_email",
        prefix: "resend",
        answer: resend::answer,
        refuse: resend::refuse,
    },
    StandIn { name: "jwks", prefix: "jwks", answer: google::keys, refuse: google::refuse },
    StandIn {
        name: "sentry_ingest",
        prefix: "sentry",
        answer: sentry::answer,
        refuse: sentry::refuse,
    },
];

/// The place in [`STAND_INS`] of the provider of that name.
pub(super) fn index_of(name: &str) -> Option<usize> {
    STAND_INS.iter().position(|each| each.name == name)
}

/// The stand-in below that prefix, with its place in [`STAND_INS`].
pub(super) fn at_prefix(prefix: &str) -> Option<(usize, &'static StandIn)> {
    STAND_INS.iter().enumerate().find(|(_, each)| each.prefix == prefix)
}
