//! From one element's children to typed values, by the registry: the typed view's only way to the tree.
//!
//! Reading goes on after a mistake, so that `prefs check` can list them all; a file with one is refused all the same.

use super::words::{ListenerKind, Words};
use crate::{
    error::{PrefsError, Warning, shorten},
    keys::{self, Alias, Fallback, KEYS, PrefKey, Takes},
    secret::SecretText,
    tree::{Element, Place},
    url::ServiceUrl,
    values::{Kind, Mistake, PassiveAddress, PassiveAddresses, PassivePorts, SendTarget, Value},
};
use ipnet::IpNet;
use lockgate_model::{ByteSize, ProtocolSet};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};
use zeroize::Zeroizing;

/// What was found on the way through a document.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<PrefsError>,
    pub(super) warnings: Vec<Warning>,
    /// Unknown keys that were reported, by pattern.
    pub(super) reported: BTreeSet<String>,
    #[cfg(test)]
    pub(super) asked: BTreeSet<&'static str>,
}

impl Findings {
    pub(super) fn warn(&mut self, place: Option<Place>, key: impl Into<String>, text: impl Into<String>) {
        self.warnings.push(Warning { place, key: key.into(), text: text.into() });
    }

    pub(super) fn conflict(
        &mut self,
        place: Option<Place>,
        key: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.errors.push(PrefsError::Conflict {
            place,
            key: key.into(),
            problem: problem.into(),
            advice: advice.into(),
        });
    }
}

/// Reads the keys of one element: the root, or an item of a vector.
pub(super) struct Reader<'r> {
    scope: &'r Element,
    vector: Option<&'static str>,
    /// What stands before a key's name in messages: nothing, or `server_list[2].`.
    prefix: String,
    pub(super) findings: &'r mut Findings,
}

impl<'r> Reader<'r> {
    pub(super) const fn top(root: &'r Element, findings: &'r mut Findings) -> Self {
        Self { scope: root, vector: None, prefix: String::new(), findings }
    }

    pub(super) fn item(item: &'r Element, vector: &'static str, index: usize, findings: &'r mut Findings) -> Self {
        Self { scope: item, vector: Some(vector), prefix: format!("{vector}[{index}]."), findings }
    }

    /// The path of a key here, as `prefs set` takes it.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Where a key stands, if it is given.
    pub(super) fn place(&self, name: &str) -> Option<Place> {
        self.scope.child(name).map(Element::place)
    }

    pub(super) fn is_given(&self, name: &str) -> bool {
        self.scope.child(name).is_some()
    }

    pub(super) fn switch(&mut self, name: &'static str) -> bool {
        matches!(self.value(name), Value::Switch(true))
    }

    pub(super) fn count<N: TryFrom<u64> + Default>(&mut self, name: &'static str) -> N {
        match self.value(name) {
            Value::Number(number) => N::try_from(number).unwrap_or_default(),
            _ => N::default(),
        }
    }

    pub(super) fn optional_count<N: TryFrom<u64>>(&mut self, name: &'static str) -> Option<N> {
        match self.value(name) {
            Value::Number(number) => N::try_from(number).ok(),
            _ => None,
        }
    }

    pub(super) fn duration(&mut self, name: &'static str) -> Duration {
        match self.value(name) {
            Value::Duration(duration) => duration,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn size(&mut self, name: &'static str) -> ByteSize {
        match self.value(name) {
            Value::Size(size) => size,
            _ => ByteSize(0),
        }
    }

    pub(super) fn word<W: Words>(&mut self, name: &'static str, otherwise: W) -> W {
        let Value::Word(word) = self.value(name) else { return otherwise };
        W::WORDS.iter().zip(W::VALUES).find(|(known, _)| **known == word).map_or(otherwise, |(_, value)| *value)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        match self.value(name) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn path_value(&mut self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// A path that has a default; blank is a mistake.
    pub(super) fn required_path(&mut self, name: &'static str) -> PathBuf {
        self.path_value(name).unwrap_or_else(|| {
            let place = self.place(name);
            let advice = "name a file, or remove the element to use the default";
            self.findings.conflict(place, self.path(name), "is empty", advice);
            PathBuf::new()
        })
    }

    pub(super) fn list(&mut self, name: &'static str) -> Vec<String> {
        match self.value(name) {
            Value::List(words) => words,
            _ => Vec::new(),
        }
    }

    pub(super) fn protocols(&mut self, name: &'static str) -> ProtocolSet {
        match self.value(name) {
            Value::Protocols(set) => set,
            _ => ProtocolSet::all(),
        }
    }

    pub(super) fn networks(&mut self, name: &'static str) -> Vec<IpNet> {
        match self.value(name) {
            Value::Networks(networks) => networks,
            _ => Vec::new(),
        }
    }

    pub(super) fn address(&mut self, name: &'static str) -> IpAddr {
        match self.value(name) {
            Value::Address(address) => address,
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }

    pub(super) fn advertised(&mut self, name: &'static str) -> PassiveAddresses {
        match self.value(name) {
            Value::Advertised(address) => address,
            _ => PassiveAddresses::all(PassiveAddress::FromConnection),
        }
    }

    pub(super) fn ports(&mut self, name: &'static str) -> PassivePorts {
        match self.value(name) {
            Value::Ports(ports) => ports,
            _ => PassivePorts::Any,
        }
    }

    pub(super) fn send_target(&mut self, name: &'static str) -> Option<SendTarget> {
        match self.value(name) {
            Value::Target(target) => Some(target),
            _ => None,
        }
    }

    pub(super) fn url(&mut self, name: &'static str) -> Option<ServiceUrl> {
        match self.value(name) {
            Value::Url(url) => Some(url),
            _ => None,
        }
    }

    pub(super) fn secret(&mut self, name: &'static str) -> Option<SecretText> {
        match self.value(name) {
            Value::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    /// Names the keys of this listener that guard something and are set, though a listener of its kind does not look at
    /// them.
    pub(super) fn warn_of_idle_keys(&mut self, kind: ListenerKind) {
        // A kind that is under TLS or SSH in any case meets require_secure without looking.
        let idle = |key: &&PrefKey| key.security && !key.concerns(kind) && key.name() != "require_secure";
        for key in KEYS.iter().filter(|key| key.vector() == self.vector).filter(idle) {
            let set = given(self.scope, key).filter(|found| found.read(key).is_ok_and(|value| value != fallback(key)));
            if let Some(found) = set {
                let text = format!("has no effect on a listener of type {kind}");
                self.findings.warn(Some(found.element.place()), self.path(key.name()), text);
            }
        }
    }

    /// The value of a declared key: what is given, else what another name gives, else the default.
    fn value(&mut self, name: &'static str) -> Value {
        let Some(key) = keys::find(self.vector, name) else {
            self.findings.conflict(None, self.path(name), "is read but not declared", "report this defect");
            return Value::Nothing;
        };
        #[cfg(test)]
        self.findings.asked.insert(key.path);
        let outcome = match given(self.scope, key) {
            None => {
                if key.default == Fallback::Required {
                    self.findings.errors.push(PrefsError::Missing { key: self.path(name), expected: as_element(key) });
                }
                return fallback(key);
            }
            Some(given) => {
                let outcome = given.read(key);
                if key.takes == Takes::NotYet && outcome.as_ref().is_ok_and(|value| *value != fallback(key)) {
                    let text = "is checked and kept, but has no effect in this version";
                    self.findings.warn(Some(given.element.place()), self.path(given.element.name()), text);
                }
                outcome.map_err(|mistake| wrong_value(&given, key, self.path(given.element.name()), mistake))
            }
        };
        outcome.unwrap_or_else(|error| {
            self.findings.errors.push(error);
            fallback(key)
        })
    }
}

/// An element that gives a key its value, under its own name or another.
pub(crate) struct Given<'e> {
    pub(crate) element: &'e Element,
    pub(crate) alias: Option<&'static Alias>,
}

/// What gives `key` its value in `scope`.
pub(crate) fn given<'e>(scope: &'e Element, key: &'static PrefKey) -> Option<Given<'e>> {
    let own = scope.child(key.name()).map(|element| Given { element, alias: None });
    own.or_else(|| {
        key.also.iter().find_map(|alias| scope.child(alias.name).map(|element| Given { element, alias: Some(alias) }))
    })
}

impl Given<'_> {
    /// The value, in the key's own unit.
    pub(crate) fn read(&self, key: &PrefKey) -> Result<Value, Mistake> {
        if key.kind == Kind::ExactSwitch && self.element.has_comment() {
            return Err(Mistake::from(key.kind.expected()));
        }
        key.kind.parse(key.name(), &self.text(key)?).map_err(|mistake| match self.alias {
            Some(alias) if alias.scale > 1 => Mistake {
                expected: format!(
                    "a number of {} (this is {} under CrushFTP's name: {})",
                    alias.unit,
                    key.name(),
                    mistake.expected
                ),
                advice: None,
            },
            _ => mistake,
        })
    }

    /// The text, in the key's own unit.
    pub(crate) fn text(&self, key: &PrefKey) -> Result<Zeroizing<String>, Mistake> {
        let text = self
            .element
            .text()
            .map_err(|_| Mistake::from(format!("{}, but elements stand inside", key.kind.expected())))?;
        let scale = self.alias.map_or(1, |alias| alias.scale);
        match text.trim().parse::<u64>() {
            Ok(number) if scale > 1 => Ok(Zeroizing::new(number.saturating_mul(scale).to_string())),
            _ => Ok(text),
        }
    }
}

fn fallback(key: &PrefKey) -> Value {
    let text = key.default.text();
    text.and_then(|text| key.kind.parse(key.name(), &text).ok()).unwrap_or(Value::Nothing)
}

fn as_element(key: &PrefKey) -> String {
    let what = match key.kind {
        Kind::ExactSwitch => "true</".to_owned(),
        _ => "…</".to_owned(),
    };
    format!("<{name}>{what}{name}> ({expected})", name = key.name(), expected = key.kind.expected())
}

fn wrong_value(given: &Given<'_>, key: &PrefKey, path: String, mistake: Mistake) -> PrefsError {
    let shown = given.element.text().ok().filter(|_| !key.kind.may_hold_secret());
    PrefsError::Value {
        place: Some(given.element.place()),
        key: path,
        value: shown.map(|text| shorten(&text)),
        expected: mistake.expected,
        advice: mistake.advice,
    }
}
