//! Sections of a recipe: one declaration gives the struct, its reader, its checks and its help.

use toml::Value;

use super::range::KeySpec;
use super::reader::Reader;
use super::spec::MethodSpec;
use super::tree::{Content, Node};

/// What [`Section::visit`] calls with each key: its path, what is known of it, its value.
pub(super) type Visitor<'v> = dyn FnMut(&str, KeySpec, Option<Value>) + 'v;

/// A part of a recipe: a table, or a list of tables.
pub(super) trait Section: Sized {
    /// Reads it from `node`, which is at the key path `at`. What is wrong or missing is reported
    /// to the reader and replaced by something harmless.
    fn read(reader: &mut Reader<'_>, at: &str, node: Option<&Node>) -> Self;

    /// Shows all keys in the order of their declaration.
    fn visit(&self, at: &str, methods: &[MethodSpec], see: &mut Visitor<'_>);
}

impl<S: Section> Section for Vec<S> {
    fn read(reader: &mut Reader<'_>, at: &str, node: Option<&Node>) -> Self {
        reader.place(at, node);
        let items: &[Node] = match node.map(|node| &node.content) {
            Some(Content::Tables(items)) => items,
            Some(Content::Value(Value::Array(none))) if none.is_empty() => &[],
            Some(_) => {
                reader.problems.add(
                    at,
                    format!("`{at}` must be a list of tables"),
                    format!("write `[[{at}]]`, in double brackets, above each one"),
                );
                &[]
            }
            None => &[],
        };
        let read = |(index, item)| S::read(reader, &format!("{at}[{index}]"), Some(item));
        items.iter().enumerate().map(read).collect()
    }

    fn visit(&self, at: &str, methods: &[MethodSpec], see: &mut Visitor<'_>) {
        for (index, section) in self.iter().enumerate() {
            section.visit(&format!("{at}[{index}]"), methods, see);
        }
    }
}

/// A table that may be left out as a whole.
impl<S: Section> Section for Option<S> {
    fn read(reader: &mut Reader<'_>, at: &str, node: Option<&Node>) -> Self {
        node.map(|node| S::read(reader, at, Some(node)))
    }

    fn visit(&self, at: &str, methods: &[MethodSpec], see: &mut Visitor<'_>) {
        if let Some(section) = self {
            section.visit(at, methods, see);
        }
    }
}

/// Declares a section.
///
/// A key is `name: type = default, "where the default is from";`, required if it has no default.
/// The default may use the keys above it. The doc comment is also the help text, and
/// `#[within(RANGE)]` bounds the values. After `sections`, parts with headings of their own.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $help:literal])+
                $(#[within($range:expr)])?
                $key:ident: $type:ty $(= $default:expr, $source:literal)?;
            )+
        }
        $(sections {
            $(
                $(#[doc = $part_about:literal])+
                $part:ident: $part_type:ty;
            )+
        })?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $name {
            $(
                $(#[doc = $help])+
                #[doc = section!(@default_doc $($default, $source)?)]
                pub $key: $type,
            )+
            $($($(#[doc = $part_about])+ pub $part: $part_type,)+)?
        }

        impl Default for $name {
            /// All defaults; required keys are empty, which the check refuses.
            fn default() -> Self {
                $crate::reader::Reader::blank(|reader| Self::read(reader, "", None))
            }
        }

        impl $crate::section::Section for $name {
            fn read(
                reader: &mut $crate::reader::Reader<'_>,
                at: &str,
                node: Option<&$crate::tree::Node>,
            ) -> Self {
                let table = reader.table(at, node);
                reader.refuse_unknown(
                    at,
                    table,
                    &[$(stringify!($key),)+ $($(stringify!($part),)+)?],
                );
                $(let $key: $type = reader.key(
                    at,
                    table,
                    section!(@spec $key [$($help)+] [$($range)?] [$($source)?]),
                    section!(@default $($default)?),
                );)+
                $($(let $part = $crate::section::Section::read(
                    reader,
                    &$crate::key_path::join(at, stringify!($part)),
                    table.and_then(|table| table.get(stringify!($part))),
                );)+)?
                Self { $($key,)+ $($($part,)+)? }
            }

            fn visit(
                &self,
                at: &str,
                methods: &[$crate::spec::MethodSpec],
                see: &mut $crate::section::Visitor<'_>,
            ) {
                let _ = methods;
                $(see(
                    &$crate::key_path::join(at, stringify!($key)),
                    section!(@spec $key [$($help)+] [$($range)?] [$($source)?]),
                    $crate::setting::Setting::to_value(&self.$key),
                );)+
                $($($crate::section::Section::visit(
                    &self.$part,
                    &$crate::key_path::join(at, stringify!($part)),
                    methods,
                    see,
                );)+)?
            }
        }
    };
    (@spec $key:ident [$($help:literal)+] [$($range:expr)?] [$($source:literal)?]) => {
        $crate::range::KeySpec {
            key: stringify!($key),
            help: concat!($($help),+).trim_ascii(),
            range: section!(@or [$($range)?] $crate::range::Range::Any),
            source: section!(@default $($source)?),
        }
    };
    (@or [] $otherwise:expr) => { $otherwise };
    (@or [$given:expr] $otherwise:expr) => { $given };
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
    (@default_doc) => { "Required." };
    (@default_doc $default:expr, $source:literal) => {
        concat!("Default: `", stringify!($default), "` (", $source, ").")
    };
}
pub(super) use section;
