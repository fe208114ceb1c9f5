//! What a tool was asked, as the cache knows it: the namespace and a hash of the question.

use serde::{Deserialize, Serialize};

use crate::key::{ToolKind, hash_of};

/// A question to a tool. Two that differ only in case or in spaces are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CacheKey {
    namespace: String,
    hash: u128,
}

impl CacheKey {
    /// The question that `asked` is: every argument, in an order that the tool never changes; one
    /// that was not given is empty. `version` is the namespace's, from its knob.
    pub fn of(tool: ToolKind, version: &str, asked: &[&str]) -> Self {
        let namespace = namespace(tool, version);
        let asked: Vec<_> = asked.iter().map(|text| normalized(text)).collect();
        let mut parts = vec![namespace.as_str()];
        parts.extend(asked.iter().map(String::as_str));
        let hash = hash_of(&parts);
        Self { namespace, hash }
    }

    /// The namespace that operators see and clear.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The hash that the cache's map works on; the namespace is in it.
    pub fn hash(&self) -> u128 {
        self.hash
    }
}

/// The namespace of a tool's results (log 3.1, 3.3).
pub fn namespace(tool: ToolKind, version: &str) -> String {
    let stem = match tool {
        ToolKind::SearchWeb => "search_web_json",
        ToolKind::SearchProducts => "search_products",
        ToolKind::SearchGlobal => "search_global",
    };
    format!("{stem}_{version}")
}

/// A text without what does not change its meaning to a search: case, and more than one space.
fn normalized(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(asked: &[&str]) -> CacheKey {
        CacheKey::of(ToolKind::SearchWeb, "v1", asked)
    }

    #[test]
    fn a_key_is_the_same_for_ever() {
        let key = web(&["rust actors", "", ""]);
        assert_eq!(key.namespace(), "search_web_json_v1");
        // Written down when the key was chosen: snapshots on disks name results by it.
        assert_eq!(format!("{:032x}", key.hash()), HASH);
    }

    const HASH: &str = "d644c45bcf0cb539e4c59b4c78b415b0";

    #[test]
    fn case_and_spaces_do_not_make_another_question() {
        assert_eq!(web(&["  Rust\tACTORS "]), web(&["rust actors"]));
        assert_ne!(web(&["rust actor"]), web(&["rust actors"]));
    }

    #[test]
    fn arguments_tools_and_versions_do_not_run_together() {
        assert_ne!(web(&["a b", ""]), web(&["a", "b"]));
        let global = |version| CacheKey::of(ToolKind::SearchGlobal, version, &["a"]);
        assert_ne!(global("v1").hash(), web(&["a"]).hash());
        assert_ne!(global("v1").hash(), global("v2").hash());
        assert_eq!(namespace(ToolKind::SearchProducts, "v7"), "search_products_v7");
    }
}
