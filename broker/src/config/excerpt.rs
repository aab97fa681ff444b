//! Source lines in error messages, without the secrets that may stand on them.

use std::ops::Range;

use super::layers::dotted_key;

/// Words in a key that make its value a secret.
const SECRET_WORDS: [&str; 8] =
    ["pass", "token", "secret", "api_key", "apikey", "authorization", "credential", "private"];

/// Words that make a value a secret even with a slip in them.
const MISSPELT_WORDS: [&str; 3] = ["password", "token", "secret"];

/// What stands in the place of a secret.
pub(super) const MASK: &str = "***";

/// Whether a key, or a line, names a secret. A misspelt key is what an error is about, so a near word counts too.
pub(super) fn names_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let characters: Vec<char> = text.chars().collect();
    SECRET_WORDS.iter().any(|word| text.contains(word))
        || MISSPELT_WORDS.iter().any(|word| holds_nearly(&characters, word))
}

/// Whether `word` stands in the text, give or take one character (two in a long word).
fn holds_nearly(text: &[char], word: &str) -> bool {
    let slips = word.len() / 4;
    (word.len() - 1..=word.len() + 1).any(|length| {
        let mut parts = text.windows(length).map(|part| part.iter().collect::<String>());
        parts.any(|part| strsim::osa_distance(&part, word) <= slips)
    })
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
    // What starts with a quote may be an item of a list rather than a key.
    let is_key = |key: &&str| !key.trim_start().starts_with(['"', '\'']) && dotted_key(key).is_some();
    let own_key = line.split_once('=').map(|(key, _)| key).filter(is_key);
    let above = |belongs: fn(&str) -> bool| before.lines().rev().find(|line| belongs(line));
    let nearest_names_secret = |belongs| above(belongs).is_some_and(names_secret);
    let belongs_to_secret = nearest_names_secret(is_header)
        || own_key.is_none()
            && (nearest_names_secret(|line| line.contains('=')) || nearest_names_secret(|_| true));
    match own_key {
        _ if is_header(line) || !(belongs_to_secret || holds_secret(&joined(before, line))) => {
            (line.to_owned(), line.len())
        }
        Some(key) => (format!("{key}= {MASK}"), key.len() + 2),
        None => (MASK.to_owned(), 0),
    }
}

/// Whether a line names a secret, or may hold one: a password's hash, or a URL with a user.
fn holds_secret(line: &str) -> bool {
    names_secret(line) || line.contains('$') || line.contains("://") && line.contains('@')
}

/// The line behind the word that the line above ends in: a line break may have cut a key in two.
fn joined(before: &str, line: &str) -> String {
    let above = before.lines().next_back().unwrap_or_default();
    let word = above.rsplit(|character: char| !character.is_alphanumeric()).next().unwrap_or_default();
    format!("{word}{line}")
}

/// Whether a line is a `[table]`. A list's item in brackets starts with a quote.
fn is_header(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default().trim();
    let key = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
    let key = key.map(|key| key.strip_prefix('[').and_then(|key| key.strip_suffix(']')).unwrap_or(key));
    key.is_some_and(|key| !key.trim_start().starts_with(['"', '\'']) && dotted_key(key).is_some())
}

/// Whether an odd number of multi-line quotes was opened before: then a line has no key of its own.
fn inside_multi_line_string(before: &str) -> bool {
    [r#"""""#, "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1)
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
            ("admin_password = '\nhunter2'", "hunter"),
            ("admin_pasword = 'hunter2'", "admin"),
            ("listen = 'ws://ann:hunter2@a'", "ws"),
            ("listen = [\n 'ws://ann:hunter2@a']", "ws"),
        ] {
            let excerpt = at(text, part);
            assert!(!excerpt.contains("hunter2") && excerpt.contains(MASK), "{excerpt}");
        }
    }
}
