//! Judgement: what counts of good and bad prove, and the verdict that follows (OPERATIONS.md §3–5).
//!
//! Pure: no clock, no network, no file. Whoever runs a tool hands in counts, samples and the text
//! of policies, and gets rows that print what was observed, the operator and the threshold. So a
//! verdict can be recomputed from a saved report, and a report that was not measured cannot pass:
//! no data is a verdict of its own, never a pass.
//!
//! Reading order: [`stats`] is what a count proves, [`policy`] what was promised, [`gates`] holds
//! one against the other, [`burn`] does so over many reports, [`canary`] compares two servers,
//! [`release`] puts a gate together,
//! [`verdict`] is the word and the exit code, [`report`] what is kept of it.

pub mod burn;
pub mod canary;
pub mod gates;
pub mod policy;
pub mod release;
pub mod report;
pub mod stats;
pub mod verdict;
