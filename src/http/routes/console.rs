//! The rows of the operators' console: its pages, which have no value in them, and its stream.

use super::{Guard, rows};
use crate::http::{ops_page, ops_stream};

/// Whoever opens a page is asked for a token by the page itself.
const PAGE: &[Guard] = &[Guard::OperatorsExist, Guard::Method];

rows! {
    "GET" "/ops" PAGE, ops_page::console, [];
    "GET" "/ops/runbook" PAGE, ops_page::runbook, [];
    "GET" "/ops/assets/{file}" PAGE, ops_page::asset, [NotFound];
    "GET" "/ops/stream" &[Guard::Operator, Guard::Method], ops_stream::get, [Overloaded];
}
