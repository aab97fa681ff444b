use std::fmt::Write;

/// Why a pattern or a template is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed")
    }
}

impl std::error::Error for Malformed {}

/// How many `*` a pattern may have: enough for any name, and few enough to be tried quickly.
const MOST_STARS: usize = 8;

/// A text in which each `*` stands for any run of characters, an empty one included.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// What stands before, between and behind the `*`: one more than there are `*`.
    parts: Vec<Box<str>>,
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let parts: Vec<Box<str>> = text.split('*').map(Into::into).collect();
        // Of two `*` side by side nobody could say what each matched.
        let is_ambiguous = parts.iter().skip(1).rev().skip(1).any(|part| part.is_empty());
        if text.is_empty() || is_ambiguous || parts.len() > MOST_STARS + 1 {
            return Err(Malformed);
        }
        Ok(Self { parts })
    }

    pub(crate) fn stars(&self) -> usize {
        self.parts.len() - 1
    }

    /// What each `*` stands for in `text`, the first ones as little as possible; `None` where it does not match.
    pub(crate) fn captures<'a>(&self, text: &'a str) -> Option<Vec<&'a str>> {
        let (first, others) = self.parts.split_first()?;
        let mut rest = text.strip_prefix(&**first)?;
        let Some((last, middle)) = others.split_last() else { return rest.is_empty().then(Vec::new) };
        let mut captures = Vec::with_capacity(self.stars());
        for part in middle {
            let (before, after) = rest.split_once(&**part)?;
            captures.push(before);
            rest = after;
        }
        captures.push(rest.strip_suffix(&**last)?);
        Some(captures)
    }
}

/// A user's name with places for what a pattern matched: `{0}` is the whole text, `{1}` what the first `*` stands for.
#[derive(Debug)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(Box<str>),
    Capture(usize),
}

impl Template {
    /// The whole text that matched.
    pub(crate) fn whole() -> Self {
        Self(vec![Piece::Capture(0)])
    }

    /// Reads a template for a pattern with so many `*`.
    pub(crate) fn parse(text: &str, stars: usize) -> Result<Self, Malformed> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (number, behind) = after.split_once('}').ok_or(Malformed)?;
            let number = number.parse().ok().filter(|number| *number <= stars).ok_or(Malformed)?;
            pieces.extend([Piece::Text(before.into()), Piece::Capture(number)]);
            rest = behind;
        }
        if text.is_empty() || rest.contains('}') {
            return Err(Malformed);
        }
        pieces.push(Piece::Text(rest.into()));
        Ok(Self(pieces))
    }

    pub(crate) fn fill(&self, whole: &str, captures: &[&str]) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            let text = match piece {
                Piece::Text(text) => text,
                Piece::Capture(0) => whole,
                Piece::Capture(number) => captures.get(number - 1).copied().unwrap_or_default(),
            };
            // Writing to memory cannot fail.
            filled.write_str(text).ok();
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: Option<&[&str]>) {
        let captures = Pattern::parse(pattern).unwrap().captures(text);
        assert_eq!(captures.as_deref(), expected, "{pattern} on {text}");
    }

    #[test]
    fn stars_match_runs_and_say_which() {
        check("ann", "ann", Some(&[]));
        check("ann", "anna", None);
        check("ann", "an", None);
        check("*", "", Some(&[""]));
        check("*", "ann", Some(&["ann"]));
        check("*.example.com", "a.b.example.com", Some(&["a.b"]));
        check("*.example.com", "example.com", None);
        check("a*a", "a", None);
        check("a*a", "aa", Some(&[""]));
        check("*@*", "ann@b@c", Some(&["ann", "b@c"]));
        check("x-*-y-*", "x-1-y-2", Some(&["1", "2"]));
        check("é*", "éa", Some(&["a"]));
    }

    #[test]
    fn patterns_that_are_none() {
        for bad in ["", "**", "a**b", "*a*b*c*d*e*f*g*h*i"] {
            assert_eq!(Pattern::parse(bad).unwrap_err(), Malformed, "{bad}");
        }
    }

    #[test]
    fn templates() {
        let fill = |template: &str| Template::parse(template, 2).map(|t| t.fill("a-b", &["a", "b"]));
        assert_eq!(fill("ann").unwrap(), "ann");
        assert_eq!(fill("{0}").unwrap(), "a-b");
        assert_eq!(fill("{2}/{1}/").unwrap(), "b/a/");
        for bad in ["", "{", "}", "{}", "{3}", "{x}", "{-1}", "a}b", "{1}}"] {
            assert_eq!(fill(bad).unwrap_err(), Malformed, "{bad}");
        }
        assert_eq!(Template::whole().fill("a", &[]), "a");
    }
}
