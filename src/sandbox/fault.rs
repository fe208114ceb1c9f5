//! The faults that `POST /_control` can arm.

/// Every status that can be armed: what the providers document, and what stands in front of them.
const STATUSES: &[u16] = &[400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504];

/// How a stand-in fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An error of that status in the provider's shape; 429 says `Retry-After: 2`.
    Status(u16),
    /// 502 with a page of HTML, as from an edge in front of the provider.
    Html,
    /// 200 without any content: an empty stream that ends well, or an empty object.
    Empty,
    /// The request is read, and nothing comes back.
    StallHeaders,
    /// Headers, then comments alone (for a body sent whole: nothing).
    StallContent,
    /// Half of the content, then nothing.
    StallMid,
    /// Half of the content, then the connection is closed without an end.
    Cut,
    /// Half of the content, then an error in the stream (for a body sent whole: 200 with an
    /// error object).
    ErrorMid,
    /// A letter each two seconds (for a body sent whole: a byte).
    Drip,
    /// JSON that ends in the middle, delivered without an error.
    Malformed,
    /// The connection is reset as soon as the request was read.
    Reset,
    /// The answer is right, and only as late as it was armed to be.
    Late,
}

impl Fault {
    /// The fault of that name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let status = name.parse().ok().filter(|status| STATUSES.contains(status));
        status
            .map(Self::Status)
            .or_else(|| NAMED.iter().find(|(each, _)| *each == name).map(|(_, fault)| *fault))
    }

    /// The name that arms it.
    pub(super) fn name(self) -> String {
        if let Self::Status(status) = self {
            return status.to_string();
        }
        let named = NAMED.iter().find(|(_, fault)| *fault == self);
        named.map_or_else(String::new, |(name, _)| (*name).to_owned())
    }

    /// All names, for the sentence that refuses an unknown one.
    pub(super) fn names() -> String {
        let statuses = STATUSES.iter().map(u16::to_string);
        let named = NAMED.iter().map(|(name, _)| (*name).to_owned());
        statuses.chain(named).collect::<Vec<_>>().join(", ")
    }
}

const NAMED: &[(&str, Fault)] = &[
    ("html", Fault::Html),
    ("empty", Fault::Empty),
    ("stall_headers", Fault::StallHeaders),
    ("stall_content", Fault::StallContent),
    ("stall_mid", Fault::StallMid),
    ("cut", Fault::Cut),
    ("error_mid", Fault::ErrorMid),
    ("drip", Fault::Drip),
    ("malformed", Fault::Malformed),
    ("reset", Fault::Reset),
    ("late", Fault::Late),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_arms_the_fault_that_bears_it() {
        for name in Fault::names().split(", ") {
            assert_eq!(Fault::from_name(name).unwrap().name(), name);
        }
        assert_eq!(Fault::from_name("418"), None);
        assert_eq!(Fault::from_name("explode"), None);
    }
}
