//! The types that a key of a recipe can have.

use std::path::{Path, PathBuf};

use toml::Value;

/// A type that a key can have.
pub(super) trait Setting: Clone + Default {
    /// One of it, for messages: "a number".
    const ONE: &'static str;
    /// Several of it: "numbers".
    const MANY: &'static str;

    /// What a recipe must give, for messages.
    fn expected() -> String {
        Self::ONE.to_owned()
    }

    /// The value, or nothing if it is of another type.
    fn read(value: &Value) -> Option<Self>;

    /// As a recipe would give it; nothing if the key would be left out.
    fn to_value(&self) -> Option<Value>;

    /// With its relative paths taken from `folder`, and made absolute: a resolved recipe means the
    /// same wherever it is stored.
    fn rebased(self, folder: &Path) -> Self {
        let _ = folder;
        self
    }
}

impl Setting for bool {
    const ONE: &'static str = "`true` or `false`";
    const MANY: &'static str = "`true` and `false`";

    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Boolean(*self))
    }
}

impl Setting for f64 {
    const ONE: &'static str = "a number";
    const MANY: &'static str = "numbers";

    fn read(value: &Value) -> Option<Self> {
        value.as_float().or_else(|| value.as_integer().map(|number| number as f64))
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Float(*self))
    }
}

impl Setting for f32 {
    const ONE: &'static str = f64::ONE;
    const MANY: &'static str = f64::MANY;

    fn read(value: &Value) -> Option<Self> {
        f64::read(value).map(|number| number as Self)
    }

    fn to_value(&self) -> Option<Value> {
        // Through text, so that 0.5071 is shown as 0.5071 and not as 0.5070999860763550.
        self.to_string().parse().ok().map(Value::Float)
    }
}

macro_rules! counts {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            const ONE: &'static str = "a whole number";
            const MANY: &'static str = "whole numbers";

            fn read(value: &Value) -> Option<Self> {
                value.as_integer().and_then(|number| number.try_into().ok())
            }

            fn to_value(&self) -> Option<Value> {
                // What TOML cannot hold is out of every range, so the largest number says enough.
                Some(Value::Integer((*self).try_into().unwrap_or(i64::MAX)))
            }
        }
    )+};
}
counts!(u32, u64, usize, i64);

impl Setting for String {
    const ONE: &'static str = "text in quotes";
    const MANY: &'static str = "texts";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::String(self.clone()))
    }
}

impl Setting for PathBuf {
    const ONE: &'static str = "a path in quotes";
    const MANY: &'static str = "paths";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(Self::from)
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::String(self.to_string_lossy().into_owned()))
    }

    fn rebased(self, folder: &Path) -> Self {
        // An empty path stays empty, so that the check can refuse it.
        if self.as_os_str().is_empty() {
            return self;
        }
        let joined = folder.join(self);
        std::path::absolute(&joined).unwrap_or(joined)
    }
}

impl<T: Setting> Setting for Option<T> {
    const ONE: &'static str = T::ONE;
    const MANY: &'static str = T::MANY;

    fn expected() -> String {
        T::expected()
    }

    fn read(value: &Value) -> Option<Self> {
        T::read(value).map(Some)
    }

    fn to_value(&self) -> Option<Value> {
        self.as_ref().and_then(Setting::to_value)
    }

    fn rebased(self, folder: &Path) -> Self {
        self.map(|value| value.rebased(folder))
    }
}

impl<T: Setting> Setting for Vec<T> {
    const ONE: &'static str = "a list";
    const MANY: &'static str = "lists";

    fn expected() -> String {
        format!("a list of {}", T::MANY)
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::read).collect()
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Array(self.iter().filter_map(Setting::to_value).collect()))
    }
}

impl<T: Setting + Copy> Setting for [T; 2] {
    const ONE: &'static str = "a pair";
    const MANY: &'static str = "pairs";

    fn expected() -> String {
        format!("a list of two {}", T::MANY)
    }

    fn read(value: &Value) -> Option<Self> {
        <[T; 2]>::try_from(Vec::<T>::read(value)?).ok()
    }

    fn to_value(&self) -> Option<Value> {
        self.to_vec().to_value()
    }
}

/// An enum whose variants are words in a recipe.
macro_rules! words {
    (
        $(#[$attribute:meta])+
        pub enum $name:ident {
            $($(#[$variant_attribute:meta])+ $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_attribute])+ #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All names, as a recipe writes them.
            pub const NAMES: &'static [&'static str] = &[$($word),+];

            /// All of them, in that order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name, as a recipe writes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl $crate::setting::Setting for $name {
            const ONE: &'static str = String::ONE;
            const MANY: &'static str = String::MANY;

            fn read(value: &toml::Value) -> Option<Self> {
                match value.as_str()? {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn to_value(&self) -> Option<toml::Value> {
                Some(toml::Value::String(self.name().to_owned()))
            }
        }
    };
}
pub(super) use words;
