//! The closed lists of words that values may be, as types.

/// A type whose values are words of prefs.xml.
pub trait Words: Copy + Sized + 'static {
    /// The words, in the order of the documents; the first stands in where a file is refused anyway.
    const WORDS: &'static [&'static str];
    /// The value of each word.
    const VALUES: &'static [Self];
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $value,)+
        }

        impl $name {
            /// The words, as the registry lists them.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word of this value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }
        }

        impl Words for $name {
            const WORDS: &'static [&'static str] = Self::WORDS;
            const VALUES: &'static [Self] = &[$(Self::$value),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Who needs a second factor on the listed protocols (`otp_enforce`).
    Enforce {
        /// Users with the flag or an enrolment.
        Flagged = "flagged",
        /// Administrators too.
        Admins = "admins",
        /// Everybody.
        All = "all",
    }
}

words! {
    /// What a user without a factor needs to enrol one (`otp_enrolment`).
    Enrolment {
        /// An invitation and the password.
        Invite = "invite",
        /// The password.
        Password = "password",
    }
}

words! {
    /// How FTP asks for a code (`otp_ftp_prompt`).
    FtpPrompt {
        /// Not at all: it comes with the password, after a colon.
        Compound = "compound",
        /// With 332 after a right password, answered by `ACCT`.
        Acct = "acct",
    }
}

words! {
    /// Whether data connections must resume the TLS session of their control connection (`require_session_reuse`).
    SessionReuse {
        /// Where the client has shown that it can each time.
        Auto = "auto",
        /// Always.
        Always = "true",
        /// Never.
        Never = "false",
    }
}

words! {
    /// The method of the request that sends a code (`otp_url_verb`).
    Verb {
        /// POST.
        Post = "POST",
        /// GET.
        Get = "GET",
        /// PUT.
        Put = "PUT",
    }
}

words! {
    /// What a listener speaks (`serverType`).
    ListenerKind {
        /// FTP, with explicit TLS where offered.
        Ftp = "FTP",
        /// FTP under TLS from the first byte.
        Ftps = "FTPS",
        /// SSH file transfer.
        Sftp = "SFTP",
        /// HTTP in clear, with WebDAV where allowed.
        Http = "HTTP",
        /// HTTP under TLS, with WebDAV where allowed.
        Https = "HTTPS",
        /// The end of the tunnel that the Main node dials.
        Dmz = "DMZ",
    }
}

words! {
    /// When an upload is reported as done (`durability`).
    Durability {
        /// After it was synced to disk.
        Full = "full",
        /// Once it has its name.
        Rename = "rename",
    }
}

words! {
    /// The oldest TLS version that is spoken (`tls_min_version`).
    TlsMinimum {
        /// TLS 1.2.
        Tls12 = "1.2",
        /// TLS 1.3.
        Tls13 = "1.3",
    }
}

impl ListenerKind {
    /// The door it opens; none for the DMZ tunnel, at which nobody logs in.
    #[must_use]
    pub const fn door(self) -> Option<lockgate_model::Door> {
        use lockgate_model::Door;
        match self {
            Self::Ftp => Some(Door::Ftp),
            Self::Ftps => Some(Door::Ftps),
            Self::Sftp => Some(Door::Sftp),
            Self::Http => Some(Door::Http),
            Self::Https => Some(Door::Https),
            Self::Dmz => None,
        }
    }
}
