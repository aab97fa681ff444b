//! Source lines in error messages, without the secrets that may stand on them.

use std::ops::Range;

use super::layers::dotted_key;

/// Words in a key that make its value a secret.
const SECRET_WORDS: [&str; 8] =
    ["pass", "token", "secret", "api_key", "apikey", "authorization", "credential", "private"];

/// What stands in the place of a secret.
pub(super) const MASK: &str = "***";

/// Whether a key, or a line, names a secret.
pub(super) fn names_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| text.contains(word))
}

/// The line that `span` starts on, numbered, with a mark below it.
pub(super) fn excerpt(text: &str, span: &Range<usize>) -> String {
    let before = text.get(..span.start).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let number = (before.bytes().filter(|byte| *byte == b'\n').count() + 1).to_string();
    let (shown, masked_from) = masked(text, start, line);
    let mut excerpt = format!("{number:>4} | {shown}");
    let column = span.start.saturating_sub(start).min(line.len());
    if column <= masked_from {
        let width = marked(line, column, span.len().min(masked_from.saturating_sub(column)));
        excerpt.push_str(&format!("\n     | {}{}", indent(line, column), "^".repeat(width)));
    }
    excerpt
}

/// The line as it may be shown, and the byte from which it is masked (its length when it is not).
fn masked(text: &str, start: usize, line: &str) -> (String, usize) {
    let before = text.get(..start).unwrap_or_default();
    if inside_multi_line_string(before) {
        return (MASK.to_owned(), 0);
    }
    let below_secret = governing_lines(before).any(names_secret);
    if !below_secret && !holds_secret(line) {
        return (line.to_owned(), line.len());
    }
    let key = line.split_once('=').map(|(key, _)| key);
    match key.filter(|key| dotted_key(key).is_some()) {
        Some(key) => (format!("{key}= {MASK}"), key.len() + 2),
        None if is_header(line) => (line.to_owned(), line.len()),
        None => (MASK.to_owned(), 0),
    }
}

/// Whether a line names a secret, or may hold one: a password's hash, or a URL with a user.
fn holds_secret(line: &str) -> bool {
    names_secret(line) || line.contains('$') || line.contains("://") && line.contains('@')
}

fn is_header(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('[') && line.ends_with(']')
}

/// Whether an odd number of multi-line quotes was opened before: then a line has no key of its own.
fn inside_multi_line_string(before: &str) -> bool {
    [r#"""""#, "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1)
}

/// The lines above that a line may belong to: the nearest `key =` (a list over several lines) and the nearest `[table]`.
fn governing_lines(before: &str) -> impl Iterator<Item = &str> {
    let table = before.lines().rev().find(|line| line.trim_start().starts_with('['));
    let key = before.lines().rev().find(|line| line.contains('='));
    table.into_iter().chain(key.filter(|line| line.trim_end().ends_with(['[', ',', '{', '='])))
}

/// White space as wide as the line up to `column`, with the line's own tabs.
fn indent(line: &str, column: usize) -> String {
    let before = line.get(..column).unwrap_or(line);
    before.chars().map(|character| if character == '\t' { '\t' } else { ' ' }).collect()
}

/// How many characters to mark: those of the span that are on the line, and at least one.
fn marked(line: &str, column: usize, length: usize) -> usize {
    let end = (column + length).min(line.len());
    line.get(column..end).map_or(1, |part| part.chars().count()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, part: &str) -> String {
        let start = text.find(part).unwrap();
        excerpt(text, &(start..start + part.len()))
    }

    #[test]
    fn the_place_is_marked() {
        assert_eq!(at("a = 1\n\tbäd = 22 # why\n", "22"), "   2 | \tbäd = 22 # why\n     | \t      ^^");
        assert_eq!(excerpt("a", &(1..1)), "   1 | a\n     |  ^");
        assert_eq!(excerpt("", &(9..12)), "   1 | \n     | ^");
    }

    #[test]
    fn secrets_are_masked() {
        assert_eq!(
            at("admin_password = hunter2", "hunter2"),
            "   1 | admin_password = ***\n     |                  ^"
        );
        for (text, part) in [
            ("admin_password = 'hunter2", "'"),
            ("x = { Token = 'hunter2', b = 1 }", "b"),
            ("[plugin.tokens]\nann = 'hunter2'", "ann"),
            ("tokens = [\n  'hunter2',\n  'hunter2' x\n]", "x"),
            ("admin_password = '''\nhunter2\na = 1 x", "hunter"),
            ("admin_password = \"\"\"\nhunter2\na = 1 x", "1 x"),
            ("'ann' = '$argon2id$hunter2'", "ann"),
            ("tokens = [\n  'hunter2=x' 1,\n]", "1"),
            ("listen = 'ws://ann:hunter2@a'", "ws"),
            ("listen = [\n 'ws://ann:hunter2@a']", "ws"),
        ] {
            let excerpt = at(text, part);
            assert!(!excerpt.contains("hunter2") && excerpt.contains(MASK), "{excerpt}");
        }
    }
}
