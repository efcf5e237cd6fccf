//! Reading a file of `[Definition]` and `[Init]`, which filters and actions have in common.
//!
//! An option gets its value from the first of: the option list behind the name
//! (`sshd[mode=ddos]`), `[Init]`, `[Definition]`, `[DEFAULT]`. Then tags in the values are
//! replaced by other options' values.

use std::collections::{HashMap, HashSet};

use super::{
    finding::{ConfigError, Finding},
    interpolate::Lack,
    tags,
    text::{Options, Text},
    tree::{Merged, conditional},
};

/// A definition while it is being put together.
pub(super) struct Definition<'a> {
    merged: &'a Merged,
    /// Options that are asked for by name.
    names: &'a [&'a str],
    /// The option list, later with what `[Init]` adds.
    pub init: Options,
    /// What the caller gave in the last [`Definition::collect`], with the option list.
    vars: Options,
    /// What `[Definition]` says.
    pub options: Options,
}

impl<'a> Definition<'a> {
    /// A definition with an option list.
    pub fn new(merged: &'a Merged, names: &'a [&'a str], init: Options) -> Definition<'a> {
        Definition { merged, names, init, vars: Options::new(), options: Options::new() }
    }

    /// Reads the options; `outer` are the jail's, visible to references, and with `all` every
    /// option of `[Definition]` is taken, not just those asked for by name.
    pub fn collect(&mut self, outer: &Options, all: bool) -> Result<(), ConfigError> {
        let mut vars = outer.clone();
        vars.extend(lower_case(&self.init));
        let exact: HashSet<&String> = outer.keys().chain(self.init.keys()).collect();
        self.options.clear();
        for &name in self.names {
            if exact.contains(&name.to_owned()) {
                continue;
            }
            match self.merged.get("Definition", name, &vars) {
                Ok(value) => {
                    self.options.insert(name.to_owned(), value);
                }
                Err(Lack::Broken(broken)) => return Err((*broken).into()),
                Err(Lack::Section | Lack::Option) => {}
            }
        }
        self.init_section(&vars)?;
        if all {
            self.rest()?;
        }
        self.vars = vars;
        Ok(())
    }

    /// Adds the options of `[Init]` that the option list leaves open; `known/…` is what the file
    /// says, whatever the list does.
    fn init_section(&mut self, vars: &Options) -> Result<(), ConfigError> {
        let none = Options::new();
        let Some(section) = self.merged.section("Init") else { return Ok(()) };
        for name in section.keys() {
            let value = match self.merged.get("Init", name, &none) {
                Ok(value) => value,
                Err(Lack::Broken(broken)) => return Err((*broken).into()),
                Err(_) => continue,
            };
            if !name.starts_with("known/") {
                self.init.insert(format!("known/{name}"), value.clone());
            }
            if !self.init.contains_key(name) {
                // An option of the list also overrides its conditional forms.
                let given = conditional(name).and_then(|(plain, _)| vars.get(plain)).cloned();
                self.init.insert(name.clone(), given.unwrap_or(value));
            }
        }
        Ok(())
    }

    fn rest(&mut self) -> Result<(), ConfigError> {
        let none = Options::new();
        let Some(section) = self.merged.section("Definition") else { return Ok(()) };
        for name in section.keys().chain(self.merged.defaults.keys()) {
            if self.options.contains_key(name) {
                continue;
            }
            match self.merged.get("Definition", name, &none) {
                Ok(value) => {
                    self.options.insert(name.clone(), value);
                }
                Err(Lack::Broken(broken)) => return Err((*broken).into()),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// An option of `[Definition]` by its name, asked for or not; its tags stay.
    pub fn setting(&self, name: &str) -> Option<Text> {
        self.merged.get("Definition", name, &self.vars).ok()
    }

    /// All options with their tags replaced; those in `ignore` stay as they are.
    pub fn combined(&self, ignore: &[&str]) -> Result<Options, Finding> {
        let mut values = self.options.clone();
        values.extend(self.init.iter().map(|(name, value)| (name.clone(), value.clone())));
        let mut ignore: HashSet<String> = ignore.iter().map(|&name| name.to_owned()).collect();
        // What depends on the address family is decided at the ban.
        let families = values.keys().filter_map(|name| conditional(name));
        ignore.extend(families.map(|(plain, _)| plain.to_owned()));
        let mut found: HashMap<String, Option<Text>> = HashMap::new();
        tags::substitute(&values, &ignore, |tag| {
            if let Some(known) = found.get(tag) {
                return Ok(known.clone());
            }
            let value = match self.merged.get_from("Definition", tag, &self.vars) {
                Ok(value) => Some(value),
                Err(Lack::Broken(broken)) => return Err(*broken),
                Err(Lack::Section | Lack::Option) => None,
            };
            found.insert(tag.to_owned(), value.clone());
            Ok(value)
        })
    }
}

/// References see names in lower case.
fn lower_case(options: &Options) -> Options {
    options.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect()
}
