//! The registered domain of a name, by the list of public suffixes that Debian keeps (package `publicsuffix`). Without the list the
//! last two labels count together, which spends an issuer's limits sooner than it does.
use std::collections::HashSet;

const LIST: &str = "/usr/share/publicsuffix/public_suffix_list.dat";

#[derive(Debug, Default)]
pub(crate) struct Suffixes(HashSet<Box<str>>);

impl Suffixes {
    /// Reads the list. It may take some milliseconds.
    pub(crate) fn read() -> Self {
        std::fs::read_to_string(LIST).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let rules = text.lines().filter_map(|line| line.split_whitespace().next());
        let rules = rules.filter(|rule| !rule.starts_with("//"));
        let ascii = |rule: &str| match rule.is_ascii() {
            true => Some(rule.into()),
            false => idna::domain_to_ascii(rule.trim_start_matches(['!', '*', '.'])).ok().map(Into::into),
        };
        Self(rules.filter_map(ascii).collect())
    }

    /// The registered domain in which a name lies; `*.` does not count.
    pub(crate) fn domain(&self, name: &str) -> String {
        let labels: Vec<&str> = name.strip_prefix("*.").unwrap_or(name).split('.').collect();
        labels[self.suffix(&labels).saturating_sub(1).min(labels.len().saturating_sub(2))..].join(".")
    }

    /// Whether anybody may register a name below this one.
    pub(crate) fn is_one(&self, name: &str) -> bool {
        self.suffix(&name.split('.').collect::<Vec<_>>()) == 0
    }

    /// The label at which the public suffix of a name begins.
    fn suffix(&self, labels: &[&str]) -> usize {
        let from = |at: usize| labels[at..].join(".");
        // The longest rule counts; an exception ends one label later (publicsuffix.org/list).
        let suffix = (0..labels.len()).find_map(|at| {
            let rest = from(at);
            if self.0.contains(&*format!("!{rest}")) {
                return Some(at + 1);
            }
            let wild = at + 1 < labels.len() && self.0.contains(&*format!("*.{}", from(at + 1)));
            (wild || self.0.contains(&*rest)).then_some(at)
        });
        suffix.unwrap_or(labels.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_domains() {
        let list = "// comment\ncom\nuk\nco.uk\nasso.fr\nfr\n*.ck\n!www.ck\nxn--p1ai\nгосударство.рф with words\n";
        let suffixes = Suffixes::parse(list);
        for (name, domain) in [
            ("example.com", "example.com"),
            ("*.a.b.example.com", "example.com"),
            ("a.club.asso.fr", "club.asso.fr"),
            ("a.b.co.uk", "b.co.uk"),
            ("co.uk", "co.uk"),
            ("a.b.c.ck", "b.c.ck"),
            ("a.www.ck", "www.ck"),
            ("a.b.unknown", "b.unknown"),
            ("one", "one"),
        ] {
            assert_eq!(suffixes.domain(name), domain, "{name}");
        }
        for (name, is) in [("co.uk", true), ("b.co.uk", false), ("b.ck", true), ("www.ck", false), ("one", true)] {
            assert_eq!(suffixes.is_one(name), is, "{name}");
        }
        let none = Suffixes::default();
        assert_eq!((none.domain("a.club.asso.fr"), none.domain("b.fr")), ("asso.fr".into(), "b.fr".into()));
    }
}
