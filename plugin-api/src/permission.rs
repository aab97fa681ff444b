//! Permissions: `ACTION:PATH`, compared level by level (protocol §8).

use std::{fmt, str::FromStr};

use crate::{event::Topic, message::CommandKey};

/// Something for which permission is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// To use a command, under its main name.
    Command(CommandKey),
    /// To subscribe to a topic.
    Subscribe(Topic),
    /// To publish to a topic.
    Publish(Topic),
    /// To serve a command.
    Register(CommandKey),
    /// To reach another service, or `*` for all of them.
    Service(Box<str>),
}

impl Action {
    /// The word before the colon.
    pub const fn kind(&self) -> ActionKind {
        match self {
            Self::Command(_) => ActionKind::Command,
            Self::Subscribe(_) => ActionKind::Subscribe,
            Self::Publish(_) => ActionKind::Publish,
            Self::Register(_) => ActionKind::Register,
            Self::Service(_) => ActionKind::Service,
        }
    }

    /// The levels of the path: one, three or four.
    pub fn levels(&self) -> Levels<'_> {
        match self {
            Self::Command(key) | Self::Register(key) => Levels::of(&[&key.class, &key.subclass, &key.cmd]),
            Self::Subscribe(topic) | Self::Publish(topic) => Levels::of(&topic.fields()),
            Self::Service(name) => Levels::of(&[name]),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind().name())?;
        for (index, level) in self.levels().iter().enumerate() {
            let separator = if index == 0 { "" } else { "/" };
            write!(f, "{separator}{level}")?;
        }
        Ok(())
    }
}

/// The levels of an action's path, `*` where a field is absent.
#[derive(Clone, Copy, Debug)]
pub struct Levels<'a> {
    levels: [&'a str; 4],
    len: usize,
}

impl<'a> Levels<'a> {
    fn of(given: &[&'a str]) -> Self {
        let mut levels = [""; 4];
        let mut len = 0;
        for (slot, level) in levels.iter_mut().zip(given) {
            *slot = level;
            len += 1;
        }
        Self { levels, len }
    }

    /// The levels, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.levels.into_iter().take(self.len)
    }
}

/// The kinds of [`Action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActionKind {
    /// `command:`
    Command,
    /// `subscribe:`
    Subscribe,
    /// `publish:`
    Publish,
    /// `register:`
    Register,
    /// `service:`
    Service,
}

impl ActionKind {
    const ALL: [Self; 5] = [Self::Command, Self::Subscribe, Self::Publish, Self::Register, Self::Service];

    /// How many levels its paths have.
    pub const fn levels(self) -> usize {
        match self {
            Self::Command | Self::Register => 3,
            Self::Subscribe | Self::Publish => 4,
            Self::Service => 1,
        }
    }

    /// The word before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Register => "register",
            Self::Service => "service",
        }
    }
}

/// A pattern of permissions, such as `subscribe:media/**`.
///
/// ```
/// use jackfield_plugin_api::{Action, CommandKey, Permission};
///
/// let permission: Permission = "command:core/event/*".parse()?;
/// assert!(permission.covers(&Action::Command(CommandKey::new("core", "event", "subscribe"))));
/// assert!(!permission.covers(&Action::Command(CommandKey::new("core", "user", "list"))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    kind: ActionKind,
    levels: Vec<Glob>,
    all_below: bool,
}

impl Permission {
    /// Whether this, in an `allow` list, lets `action` pass. A level without `*` does not cover a request for `*`.
    pub fn covers(&self, action: &Action) -> bool {
        self.matches(action, Glob::matches)
    }

    /// Whether this, in a `deny` list, stops `action`. A request for `*` would reach what is denied, so any level
    /// meets it.
    pub fn reaches(&self, action: &Action) -> bool {
        self.matches(action, |glob, level| level == "*" || glob.matches(level))
    }

    /// Whether there is anything that this could be about: a path has as many levels as its action asks for.
    pub fn can_match(&self) -> bool {
        let (own, asked) = (self.levels.len(), self.kind.levels());
        if self.all_below { own < asked } else { own == asked }
    }

    fn matches(&self, action: &Action, fits: impl Fn(&Glob, &str) -> bool) -> bool {
        if self.kind != action.kind() {
            return false;
        }
        let mut globs = self.levels.iter();
        for level in action.levels().iter() {
            match globs.next() {
                Some(glob) if fits(glob, level) => {}
                Some(_) => return false,
                None => return self.all_below,
            }
        }
        globs.next().is_none() && !self.all_below
    }
}

impl FromStr for Permission {
    type Err = InvalidPermission;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPermission(text.to_owned());
        let (kind, path) = text.split_once(':').ok_or_else(invalid)?;
        let kind = ActionKind::ALL.into_iter().find(|known| known.name() == kind).ok_or_else(invalid)?;
        let mut levels: Vec<&str> = path.split('/').collect();
        let all_below = levels.last() == Some(&"**");
        if all_below {
            levels.pop();
        }
        if path.is_empty() || levels.iter().any(|level| level.contains("**")) {
            return Err(invalid());
        }
        Ok(Self { kind, levels: levels.into_iter().map(Glob::new).collect(), all_below })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels: Vec<&str> =
            self.levels.iter().map(Glob::as_str).chain(self.all_below.then_some("**")).collect();
        write!(f, "{}:{}", self.kind.name(), levels.join("/"))
    }
}

/// Text that is no permission: it wants `ACTION:PATH`, `**` at the end only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPermission(String);

impl fmt::Display for InvalidPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is no permission: expected command:class/subclass/cmd, subscribe: or \
             publish:class/subclass/type/obj_id, register:class/subclass/cmd or service:name, whose levels may hold \
             '*', or '**' at the end",
            self.0
        )
    }
}

impl std::error::Error for InvalidPermission {}

/// What an authenticator allows a session. `deny` is looked at first; what neither says is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// What it may do.
    pub allow: Vec<Permission>,
    /// What it may not, though `allow` says so.
    pub deny: Vec<Permission>,
}

impl Permissions {
    /// Whether these say anything of `action`, and what.
    pub fn decide(&self, action: &Action) -> Option<bool> {
        if self.deny.iter().any(|pattern| pattern.reaches(action)) {
            return Some(false);
        }
        self.allow.iter().any(|pattern| pattern.covers(action)).then_some(true)
    }
}

/// A pattern in which `*` stands for any run of characters, an empty one included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// Takes a pattern.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` fits the pattern.
    pub fn matches(&self, text: &str) -> bool {
        let Some((head, mut rest)) = self.0.split_once('*') else { return *self.0 == *text };
        let Some(mut text) = text.strip_prefix(head) else { return false };
        // Between the first star and the last, each piece is looked for from the left: the earliest place leaves
        // the most for those behind it.
        while let Some((piece, behind)) = rest.split_once('*') {
            let Some((_, after)) = text.split_once(piece) else { return false };
            (text, rest) = (after, behind);
        }
        text.ends_with(rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn command(path: &str) -> Action {
        let mut levels = path.split('/');
        let mut next = || levels.next().unwrap();
        Action::Command(CommandKey::new(next(), next(), next()))
    }

    fn check(pattern: &str, path: &str, covers: bool, reaches: bool) {
        let permission: Permission = pattern.parse().unwrap();
        let action = command(path);
        assert_eq!(
            (permission.covers(&action), permission.reaches(&action)),
            (covers, reaches),
            "{pattern} {path}"
        );
        assert_eq!(permission.to_string(), pattern);
    }

    #[test]
    fn levels_are_compared_one_by_one() {
        check("command:core/user/list", "core/user/list", true, true);
        check("command:core/user/list", "core/user/get", false, false);
        check("command:core/*/list", "core/user/list", true, true);
        check("command:core/**", "core/user/list", true, true);
        check("command:**", "core/user/list", true, true);
        check("subscribe:**", "core/user/list", false, false);
        check("command:c*e/user/l*", "core/user/list", true, true);
    }

    #[test]
    fn a_request_for_all_is_covered_by_stars_and_reached_by_any_denial() {
        check("command:core/user/list", "core/user/*", false, true);
        check("command:core/user/l*", "core/user/*", false, true);
        check("command:core/user/*", "core/user/*", true, true);
        check("command:core/**", "core/*/*", true, true);
    }

    #[test]
    fn patterns_of_another_length_match_nothing() {
        for text in ["command:core/user", "command:a/b/c/**", "publish:a/b/c/d/e", "service:a/b"] {
            let permission: Permission = text.parse().unwrap();
            assert!(!permission.can_match() && !permission.covers(&command("core/user/list")), "{text}");
        }
        assert!("subscribe:a/**".parse::<Permission>().unwrap().can_match());
    }

    #[test]
    fn bad_patterns_are_refused() {
        for text in ["", "command", "command:", "run:a/b/c", "command:**/a", "command:a/b**", "command:a/***"]
        {
            assert!(text.parse::<Permission>().is_err(), "{text}");
        }
    }

    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some('*'), _) => naive(&pattern[1..], text) || (!text.is_empty() && naive(pattern, &text[1..])),
            (Some(a), Some(b)) if a == b => naive(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_the_naive_model_does(pattern in "[ab*]{0,6}", text in "[ab*]{0,8}") {
            let expected = naive(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
            prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
        }
    }
}
