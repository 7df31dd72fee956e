//! More stock clients, each of which does something its own way: lftp, rclone, cadaver, scp, and Python's ftplib and
//! paramiko. They show that a door works for the client a user has, where one client per door shows that a rule holds.

use super::{Client, Login, OpenSsh, Reply, Second, Verdict};
use crate::{
    house::House,
    program::{Ran, clean_command, python, run_with, sources},
};
use std::{fs, path::Path, process::Command};

/// lftp under explicit TLS.
pub struct Lftp;

impl Lftp {
    fn run(house: &House, login: &Login<'_>, act: &str) -> Reply {
        let script = [
            "set ssl:verify-certificate no",
            "set ftp:ssl-force true",
            "set ftp:ssl-protect-data true",
            "set net:max-retries 1",
            "set net:timeout 20",
            "set cmd:fail-exit true",
            &format!("set net:socket-bind-ipv4 {}", login.from),
            &format!("open --env-password --user {} ftp://{}", login.name, house.door("ftp")),
            act,
        ]
        .join("; ");
        let mut command = clean_command("lftp");
        command.env("HOME", house.folder()).env("LFTP_PASSWORD", login.compound()).args(["--norc", "-c", &script]);
        Reply::judge(&run_with(command, ""), |ran| ran.stderr.contains("530") || ran.stderr.contains("421"))
    }
}

impl Client for Lftp {
    fn protocol(&self) -> &'static str {
        "ftps"
    }

    fn name(&self) -> &'static str {
        "lftp"
    }

    fn login(&self, house: &House, login: &Login<'_>) -> Reply {
        Self::run(house, login, "cls /")
    }

    fn put(&self, house: &House, login: &Login<'_>, local: &Path, remote: &str) -> Reply {
        Self::run(house, login, &format!("put \"{}\" -o \"{remote}\"", local.display()))
    }

    fn get(&self, house: &House, login: &Login<'_>, remote: &str, local: &Path) -> Reply {
        Self::run(house, login, &format!("get \"{remote}\" -o \"{}\"", local.display()))
    }

    fn repeats(&self) -> bool {
        true
    }
}

/// rclone's WebDAV remote, over HTTPS.
pub struct Rclone;

impl Rclone {
    fn run(house: &House, login: &Login<'_>, arguments: &[&str]) -> Reply {
        let mut obscure = Self::command(house);
        obscure.args(["obscure", "-"]);
        let pass = run_with(obscure, &login.compound()).ok().trim().to_owned();
        let mut command = Self::command(house);
        command.env("RCLONE_WEBDAV_URL", format!("https://{}/dav/", house.door("https")));
        command
            .env("RCLONE_WEBDAV_USER", login.name)
            .env("RCLONE_WEBDAV_PASS", pass)
            .env("RCLONE_WEBDAV_VENDOR", "other");
        command.args(["--config", "", "--no-check-certificate", "--retries", "1", "--low-level-retries", "1"]);
        command.args(["--bind", &login.from.to_string()]).args(arguments);
        Reply::judge(&run_with(command, ""), |ran| {
            ["401", "403", "429"].iter().any(|status| ran.stderr.contains(status))
        })
    }

    fn command(house: &House) -> Command {
        let mut command = clean_command("rclone");
        command.env("HOME", house.folder());
        command
    }
}

impl Client for Rclone {
    fn protocol(&self) -> &'static str {
        "webdav"
    }

    fn name(&self) -> &'static str {
        "rclone"
    }

    fn login(&self, house: &House, login: &Login<'_>) -> Reply {
        Self::run(house, login, &["lsf", ":webdav:"])
    }

    fn put(&self, house: &House, login: &Login<'_>, local: &Path, remote: &str) -> Reply {
        Self::run(house, login, &["copyto", local.to_str().unwrap(), &format!(":webdav:{remote}")])
    }

    fn get(&self, house: &House, login: &Login<'_>, remote: &str, local: &Path) -> Reply {
        Self::run(house, login, &["copyto", &format!(":webdav:{remote}"), local.to_str().unwrap()])
    }

    fn repeats(&self) -> bool {
        true
    }
}

/// cadaver, over HTTP: it asks about a self-signed certificate on the terminal. Its exit code says nothing, and its
/// credentials come from `.netrc`, which cannot hold a blank.
pub struct Cadaver;

impl Cadaver {
    fn run(house: &House, login: &Login<'_>, act: &str) -> Reply {
        let door = house.door("http");
        let netrc = format!("machine {} login {} password {}\n", door.ip(), login.name, login.compound());
        let home = house.scratch("cadaver");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join(".netrc"), netrc).unwrap();
        let mut command = clean_command("setsid");
        command.env("HOME", &home).current_dir(&home).args(["--wait", "cadaver", &format!("http://{door}/dav/")]);
        let ran = run_with(command, &format!("{act}\nquit\n"));
        let verdict = match &ran {
            ran if ran.stdout.contains("succeeded") => Verdict::Granted,
            ran if says(ran, "uthentication") || says(ran, "401") => Verdict::Refused,
            _ => Verdict::Broken,
        };
        Reply { verdict, said: ran.to_string() }
    }
}

fn says(ran: &Ran, words: &str) -> bool {
    ran.stdout.contains(words) || ran.stderr.contains(words)
}

impl Client for Cadaver {
    fn protocol(&self) -> &'static str {
        "webdav"
    }

    fn name(&self) -> &'static str {
        "cadaver"
    }

    fn login(&self, house: &House, login: &Login<'_>) -> Reply {
        Self::run(house, login, "ls")
    }

    fn put(&self, house: &House, login: &Login<'_>, local: &Path, remote: &str) -> Reply {
        Self::run(house, login, &format!("put {} {remote}", local.display()))
    }

    fn get(&self, house: &House, login: &Login<'_>, remote: &str, local: &Path) -> Reply {
        Self::run(house, login, &format!("get {remote} {}", local.display()))
    }

    fn repeats(&self) -> bool {
        true
    }
}

/// Python's own FTP client or paramiko, run by `stock.py`.
pub struct Python(pub &'static str);

impl Python {
    fn run(&self, house: &House, login: &Login<'_>, act: &[&str]) -> Reply {
        let code = match login.second {
            Second::Code(code) => code,
            Second::Nothing | Second::Asked(_) => "",
        };
        let door = house.door(if self.0 == "paramiko" { "sftp" } else { "ftp" });
        let mut command = clean_command(python());
        command.env("HOME", house.folder()).env("TEST_PASSWORD", login.password).env("TEST_CODE", code);
        command.arg(sources().join("tests/e2e/clients/stock.py"));
        command.args([self.0, &door.ip().to_string(), &door.port().to_string(), &login.from.to_string(), login.name]);
        command.args(act);
        // The script ends with 3 where the server refused the login.
        Reply::judge(&run_with(command, ""), |ran| ran.code() == 3)
    }
}

impl Client for Python {
    fn protocol(&self) -> &'static str {
        if self.0 == "paramiko" { "sftp" } else { "ftps" }
    }

    fn name(&self) -> &'static str {
        self.0
    }

    fn login(&self, house: &House, login: &Login<'_>) -> Reply {
        self.run(house, login, &["list"])
    }

    fn put(&self, house: &House, login: &Login<'_>, local: &Path, remote: &str) -> Reply {
        self.run(house, login, &["put", local.to_str().unwrap(), remote])
    }

    fn get(&self, house: &House, login: &Login<'_>, remote: &str, local: &Path) -> Reply {
        self.run(house, login, &["get", remote, local.to_str().unwrap()])
    }

    fn repeats(&self) -> bool {
        self.protocol() == "ftps"
    }
}

/// Today's `scp`, which speaks SFTP. It cannot list, so that a login is judged by an upload.
pub struct Scp(pub OpenSsh);

impl Client for Scp {
    fn protocol(&self) -> &'static str {
        "sftp"
    }

    fn name(&self) -> &'static str {
        "scp"
    }

    fn login(&self, house: &House, login: &Login<'_>) -> Reply {
        let local = house.scratch("scp-probe");
        fs::write(&local, "probe").unwrap();
        self.put(house, login, &local, "scp-probe")
    }

    fn put(&self, house: &House, login: &Login<'_>, local: &Path, remote: &str) -> Reply {
        self.0.copy(house, login, |target| [local.display().to_string(), format!("{target}:{remote}")])
    }

    fn get(&self, house: &House, login: &Login<'_>, remote: &str, local: &Path) -> Reply {
        self.0.copy(house, login, |target| [format!("{target}:{remote}"), local.display().to_string()])
    }

    fn repeats(&self) -> bool {
        false
    }
}
