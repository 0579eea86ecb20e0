//! `ruche ftp-user`: logins of the FTP server. A password comes from standard input, never from the command line.
use clap::Subcommand;
use http::Method;

use crate::api::ftp_users::{FtpUser, FtpUserCreate, FtpUserPatch};
use crate::base::names::{Host, Login};
use crate::base::sizes::human;
use crate::cli::client::{Write, path};
use crate::cli::failure::Failure;
use crate::cli::output::{Out, unicode, yes_no};
use crate::cli::passwords;
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::cli::values::{Limit, size, size_limit};

#[derive(Debug, Subcommand)]
pub(crate) enum FtpUserCommand {
    /// Create an FTP user
    #[command(after_help = "Example:
  systemd-ask-password | ruche ftp-user create web --site example.org --password-stdin")]
    Create {
        login: Login,
        /// Site whose files it sees
        #[arg(long, value_name = "HOST")]
        site: Host,
        /// Directory of the site that is its root
        #[arg(long, default_value = "", hide_default_value = true)]
        dir: String,
        /// Space its uploads may take, such as 2G
        #[arg(long, value_name = "SIZE", value_parser = size)]
        quota: Option<u64>,
        /// Read the password from standard input
        #[arg(long, required = true)]
        password_stdin: bool,
        /// Let it log in without TLS: everybody on the way can read its password
        #[arg(long)]
        allow_plain: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// List the FTP users
    Ls,
    /// Change an FTP user; what is not named stays
    Set {
        login: Login,
        #[arg(long)]
        dir: Option<String>,
        /// Space its uploads may take, or `unlimited`
        #[arg(long, value_name = "SIZE", value_parser = size_limit)]
        quota: Option<Limit>,
        /// Read a new password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// Let it log in no more
        #[arg(long)]
        disable: bool,
        /// Let it log in again
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Let it log in without TLS: everybody on the way can read its password
        #[arg(long)]
        allow_plain: bool,
        /// Let it log in with TLS only
        #[arg(long, conflicts_with = "allow_plain")]
        require_tls: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Remove an FTP user; files stay
    Rm {
        login: Login,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(crate) async fn run(session: &Session, command: FtpUserCommand) -> Result<(), Failure> {
    match command {
        FtpUserCommand::Create { login, site, dir, quota, password_stdin: _, allow_plain, write } => {
            let password = passwords::read(std::io::stdin().lock())?;
            let (name, site) = (login.to_string(), site.to_string());
            let body = FtpUserCreate { login: name, site, dir, quota, password, allow_plain };
            let doing = format!("create the FTP user {login}");
            let write = Write::new(doing, Method::POST, path(&["ftp-users"]), &write).body(&body);
            session.write("Created", write).await.map(drop)
        }
        FtpUserCommand::Ls => session.list("FTP users", &path(&["ftp-users"]), table).await,
        FtpUserCommand::Set { login, dir, quota, password_stdin, disable, enable, allow_plain, require_tls, write } => {
            let password = password_stdin.then(|| passwords::read(std::io::stdin().lock())).transpose()?;
            let disabled = (disable || enable).then_some(disable);
            let allow_plain = (allow_plain || require_tls).then_some(allow_plain);
            let patch = FtpUserPatch { dir, quota: quota.map(Option::from), password, disabled, allow_plain };
            session.patch("Changed", format!("change the FTP user {login}"), one(&login), &patch, &write).await
        }
        FtpUserCommand::Rm { login, write } => {
            session.remove(&format!("the FTP user {login}"), " Files stay.", one(&login), &write).await
        }
    }
}

fn one(login: &Login) -> String {
    path(&["ftp-users", login.as_str()])
}

fn table(out: &Out, users: Vec<FtpUser>) -> String {
    let rows = users.into_iter().map(|user| {
        let quota = user.quota.map_or_else(|| "unlimited".to_owned(), human);
        let dir = format!("/{}", user.dir);
        let tls = if user.allow_plain { "optional" } else { "required" }.to_owned();
        [user.login, unicode(&user.site), dir, quota, tls, yes_no(user.disabled), out.time(&user.created)]
    });
    out.table(["LOGIN", "SITE", "DIRECTORY", "QUOTA", "TLS", "DISABLED", "CREATED"], rows)
}
