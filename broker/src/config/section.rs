//! One definition per table of the configuration file.
//!
//! [`section!`] makes the struct, its defaults, its reader and its list of known keys from one line per key, so a
//! new key touches one place.

use super::read::Reader;
use super::tree::Node;

/// What [`section!`] makes.
pub(super) trait Keys: Sized {
    /// The known keys.
    const KEYS: &'static [&'static str];

    /// Every key at its default.
    fn defaults() -> Self;

    /// Reads one key's value; false where the key is unknown. A bad value is reported and leaves the default.
    fn assign(&mut self, key: &str, node: &Node, reader: &mut Reader) -> bool;
}

/// A table with known keys.
pub(super) trait Section: Keys {
    /// Checks, and completes, what depends on more than one key. `node` is the section's table.
    fn check(&mut self, _node: &Node, _reader: &mut Reader) {}
}

/// Reads a table with known keys.
pub(super) fn read_section<T: Section>(node: &Node, reader: &mut Reader) -> Option<T> {
    let table = reader.table(node)?;
    let mut section = T::defaults();
    for (key, child) in &table {
        reader.within(key, |reader| {
            if !section.assign(key, child, reader) {
                reader.unknown_key(child, key, T::KEYS);
            }
        });
    }
    section.check(node, reader);
    Some(section)
}

/// Defines a table: `name: Type = default, reader;` for each key, `name @ "key"` where the key has another name.
macro_rules! section {
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                pub $field:ident $(@ $key:literal)? : $type:ty = $default:expr, $read:expr;
            )*
        }
        $(with $(#[doc = $extra_doc:literal])+ $extra:ident : $extra_type:ty;)?
    ) => {
        $(#[$meta])*
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
            $( $(#[doc = $extra_doc])+ $extra: $extra_type, )?
        }

        impl $crate::config::section::Keys for $name {
            const KEYS: &'static [&'static str] =
                &[ $( $crate::config::section::section!(@key $field $($key)?), )* ];

            fn defaults() -> Self {
                Self { $( $field: $default, )* $( $extra: <$extra_type>::default(), )? }
            }

            fn assign(
                &mut self,
                key: &str,
                node: &$crate::config::tree::Node,
                reader: &mut $crate::config::read::Reader,
            ) -> bool {
                match key {
                    $( $crate::config::section::section!(@key $field $($key)?) => {
                        if let Some(value) = ($read)(node, reader) {
                            self.$field = value;
                        }
                    } )*
                    _ => return false,
                }
                true
            }
        }

        impl Default for $name {
            fn default() -> Self {
                <Self as $crate::config::section::Keys>::defaults()
            }
        }
    };
}
pub(super) use section;
