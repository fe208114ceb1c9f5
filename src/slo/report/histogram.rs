//! Latencies as a mergeable histogram: 1 µs to 120 s in 3 significant digits (OPERATIONS.md §5.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest latency that is kept apart; what takes longer counts as this.
const MOST_US: u64 = 120_000_000;

/// A histogram of latencies.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    inner: hdrhistogram::Histogram<u64>,
}

/// Why a saved histogram was not read.
#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    /// Not base64.
    #[error("the histogram is not base64")]
    Encoding(#[from] base64::DecodeError),
    /// Not of HdrHistogram's V2 format.
    #[error("the histogram is not of HdrHistogram's V2 deflate format")]
    Format(#[from] hdrhistogram::serialization::DeserializeError),
    /// Of another range or precision than reports have.
    #[error("the histogram does not keep 1 µs to 120 s in 3 digits")]
    Shape,
}

impl Default for Histogram {
    fn default() -> Self {
        let inner = hdrhistogram::Histogram::new_with_bounds(1, MOST_US, 3);
        Self { inner: inner.expect("1 to 120 000 000 in 3 digits is a valid shape") }
    }
}

impl Histogram {
    /// Records one latency in microseconds as it was; no samples are ever made up beside it.
    pub fn record_us(&mut self, us: u64) {
        self.inner.saturating_record(us.max(1));
    }

    /// Adds another's samples: how windows, workers and stages become one.
    pub fn merge(&mut self, other: &Self) {
        let added = self.inner.add(&other.inner);
        added.expect("every histogram of ours has the same shape");
    }

    /// Samples recorded.
    pub fn count(&self) -> u64 {
        self.inner.len()
    }

    /// Samples slower than a limit, milliseconds. A sample within a thousandth of the limit counts
    /// as in time, for 3 digits do not tell it apart.
    pub fn slower_than_ms(&self, ms: u64) -> u64 {
        let last = self.inner.highest_equivalent(ms.saturating_mul(1000).min(MOST_US));
        self.count() - self.inner.count_between(0, last)
    }

    /// A quantile in milliseconds; 0 of nothing.
    pub fn quantile_ms(&self, q: f64) -> f64 {
        self.inner.value_at_quantile(q) as f64 / 1000.0
    }

    /// The slowest in milliseconds.
    pub fn max_ms(&self) -> f64 {
        self.inner.max() as f64 / 1000.0
    }

    /// As reports keep it: HdrHistogram's V2 format, deflated, in base64.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        let written = V2DeflateSerializer::new().serialize(&self.inner, &mut bytes);
        written.expect("memory takes every byte");
        STANDARD.encode(bytes)
    }

    /// Reads what [`Histogram::encode`] wrote, or any other program that keeps the same shape.
    ///
    /// # Errors
    /// Not base64, not that format, or not this range and precision.
    pub fn decode(text: &str) -> Result<Self, HistogramError> {
        let bytes = STANDARD.decode(text)?;
        let inner: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice())?;
        if inner.sigfig() != 3 || inner.low() != 1 || inner.high() > MOST_US {
            return Err(HistogramError::Shape);
        }
        let mut own = Self::default();
        own.inner.add(&inner).map_err(|_too_high| HistogramError::Shape)?;
        Ok(own)
    }
}

/// Percentiles for people, and the histogram they are from. Milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Latencies {
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    #[serde(rename = "p99.9")]
    pub p999: f64,
    /// The slowest.
    pub max: f64,
    /// [`Histogram::encode`].
    pub hdr: String,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::of(&Histogram::default())
    }
}

impl Latencies {
    /// The percentiles of a histogram.
    pub fn of(histogram: &Histogram) -> Self {
        let at = |q| histogram.quantile_ms(q);
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max_ms(),
            hdr: histogram.encode(),
        }
    }

    /// The histogram it was made of.
    ///
    /// # Errors
    /// What stands in `hdr` is none.
    pub fn histogram(&self) -> Result<Histogram, HistogramError> {
        Histogram::decode(&self.hdr)
    }

    /// Several windows as one: histograms are added and percentiles taken anew, never averaged.
    ///
    /// # Errors
    /// What stands in one's `hdr` is no histogram.
    pub fn merged<'a>(windows: impl IntoIterator<Item = &'a Self>) -> Result<Self, HistogramError> {
        let mut sum = Histogram::default();
        for window in windows {
            sum.merge(&window.histogram()?);
        }
        Ok(Self::of(&sum))
    }
}
