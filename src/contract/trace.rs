//! The trace that a request belongs to, as W3C Trace Context writes it (`traceparent`,
//! `tracestate`).
//!
//! A caller's trace is carried on; a request without one, or with one that is malformed, begins a
//! new one. Every call to a provider is a child: the same trace, an identifier of its own.
//!
//! # Always
//! - What is written is version 00, lower case, and neither identifier is all zeros.
//! - A malformed `traceparent` takes its `tracestate` with it, as the recommendation demands.

use std::fmt;

/// Names the trace, the caller's step in it, and whether it is recorded.
pub const TRACEPARENT: &str = "traceparent";
/// What vendors carry along with it.
pub const TRACESTATE: &str = "tracestate";

/// The longest `tracestate` that is carried on; a longer one is left out whole.
const STATE_BYTES_MAX: usize = 512;

/// Bit of the flags: the caller records the trace.
const SAMPLED: u8 = 1;

/// Where a request or a call stands in its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<String>,
}

impl Trace {
    /// The trace that a caller's fields name; `None` if they name none that can be carried on.
    pub fn read(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let (trace_id, span_id, flags) = fields_of(traceparent.trim())?;
        let printable = |state: &&str| {
            (1..=STATE_BYTES_MAX).contains(&state.len())
                && state.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
        };
        let state = tracestate.map(str::trim).filter(printable).map(str::to_owned);
        Some(Self { trace_id, span_id, flags: flags & SAMPLED, state })
    }

    /// A trace that begins here, named by numbers that were drawn.
    pub fn fresh(random: [u64; 3]) -> Self {
        let [high, low, span_id] = random;
        let trace_id = (u128::from(high) << 64) | u128::from(low);
        Self { trace_id: trace_id.max(1), span_id: span_id.max(1), flags: 0, state: None }
    }

    /// A step below this one, named by a number that was drawn.
    #[must_use]
    pub fn child(&self, random: u64) -> Self {
        Self { span_id: random.max(1), ..self.clone() }
    }

    /// The same, recorded: whoever has a step in it should keep it.
    #[must_use]
    pub fn recorded(self) -> Self {
        Self { flags: self.flags | SAMPLED, ..self }
    }

    /// Whether whoever has a step in it should keep it.
    pub fn is_recorded(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The trace's identifier as a number.
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The identifier of the step that it stands at.
    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    /// The trace's identifier as logs and headers write it.
    pub fn id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The fields to send, as name and value.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let state = self.state.clone().map(|state| (TRACESTATE, state));
        [(TRACEPARENT, self.to_string())].into_iter().chain(state)
    }
}

impl fmt::Display for Trace {
    /// Writes the value of `traceparent`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// The identifiers and flags of a `traceparent`. A version to come may have more behind the four
/// fields that are known; this one may not.
fn fields_of(text: &str) -> Option<(u128, u64, u8)> {
    let known = text.get(..55)?;
    let rest = text.get(55..)?;
    let mut fields = known.split('-');
    let version = hex(fields.next()?, 2)?;
    let trace_id = hex(fields.next()?, 32)?;
    let span_id = u64::try_from(hex(fields.next()?, 16)?).ok()?;
    let flags = u8::try_from(hex(fields.next()?, 2)?).ok()?;
    let fits = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    (fits && fields.next().is_none() && trace_id != 0 && span_id != 0)
        .then_some((trace_id, span_id, flags))
}

/// So many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(plain)).then_some(())?;
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_callers_trace_is_carried_on_by_a_child_of_its_own_name() {
        let trace = Trace::read(PARENT, Some("vendor=1,other=a:b")).unwrap();
        assert_eq!(trace.to_string(), PARENT);
        assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let fields: Vec<_> = trace.child(0xab).fields().collect();
        let child = "00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000ab-01";
        let expected = [(TRACEPARENT, child), (TRACESTATE, "vendor=1,other=a:b")];
        assert_eq!(fields, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn what_is_malformed_names_no_trace() {
        let zeros = "0".repeat(32);
        for odd in [
            String::new(),
            "00".to_owned(),
            PARENT.to_uppercase(),
            format!("{PARENT}-more"),
            format!("{PARENT}0"),
            PARENT.replacen("00-", "ff-", 1),
            PARENT.replacen("00-", "0-", 1),
            PARENT.replace('-', "_"),
            PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros),
            PARENT.replace("00f067aa0ba902b7", &zeros[..16]),
            PARENT.replace("4bf9", "4bg9"),
            PARENT.replace("4bf92f", "4bf92é"),
            PARENT[..54].to_owned(),
        ] {
            assert_eq!(Trace::read(&odd, Some("a=b")), None, "{odd}");
        }
    }

    #[test]
    fn a_version_to_come_is_read_as_far_as_it_is_known() {
        for later in ["01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", "", "-what"] {
            let text = match later {
                "" | "-what" => format!("cc{}{later}", &PARENT[2..]),
                whole => whole.to_owned(),
            };
            assert_eq!(Trace::read(&text, None).unwrap().to_string(), PARENT, "{text}");
        }
        assert_eq!(Trace::read(&format!("cc{}x", &PARENT[2..]), None), None);
    }

    #[test]
    fn a_state_that_no_header_should_hold_is_left_out() {
        for odd in ["", "a=\u{e9}", "a=\u{1}b", &"x".repeat(513)] {
            assert_eq!(Trace::read(PARENT, Some(odd)).unwrap().fields().count(), 1, "{odd:?}");
        }
    }

    #[test]
    fn a_fresh_trace_has_names_that_are_not_zero() {
        let expected = "00-00000000000000000000000000000001-0000000000000001-00";
        assert_eq!(Trace::fresh([0; 3]).to_string(), expected);
        assert!(Trace::read(&Trace::fresh([1, 2, 3]).to_string(), None).is_some());
        let recorded = Trace::fresh([1, 2, 3]).recorded();
        assert!(recorded.is_recorded() && recorded.child(4).to_string().ends_with("-01"));
    }
}
