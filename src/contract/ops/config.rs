//! Knobs in force, and what a reload has done.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::answers;

answers! {
    /// `GET /ops/config`.
    ConfigAnswer {
        /// When it was looked.
        generated_at: String,
        /// Every knob, in the order of `sendcat config`.
        knobs: Vec<KnobRow>,
    }

    /// One knob.
    KnobRow {
        /// Its name in the environment.
        name: String,
        /// The value in force: a number where it is one, `***` for a secret, `null` for none.
        value: Value,
        /// What it is when nobody sets it.
        default: Value,
        /// What numbers count; empty for what is not counted.
        unit: String,
        /// `env`, `file`, `sandbox` or `default`.
        source: String,
        /// What it takes.
        expected: String,
        /// Whether a reload applies a change.
        reloadable: bool,
        /// What it does.
        about: String,
    }

    /// `POST /ops/config/reload`.
    ConfigReloaded {
        /// Knobs whose new value is in force.
        changed: Vec<String>,
        /// Knobs whose new value waits for the next start.
        at_next_start: Vec<String>,
    }
}
