//! The programs: each a shell script that is run in a directory, and prints what must be the same everywhere.
//!
//! Who runs them where is decided elsewhere.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::PATIENCE;

/// A program, as a script for `sh -eu` in the directory.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    script: &'static str,
}

/// Everything about every file that does not depend on when and where it was made. The index of git holds inode numbers.
pub(crate) const TREE: &str = r"
find . -type d -printf '%P d %m %u %g\n' -o -type l -printf '%P l %m %n %u %g %l\n' -o -printf '%P %y %m %n %s %u %g\n' |
    sort
find . -type f -not -path ./.git/index -print0 | sort -z | xargs -0 --no-run-if-empty sha256sum
";

/// In this order: the last one leaves nothing. Several threads of git would make packs that differ from one time to the next.
pub(crate) const PROGRAMS: &[Program] = &[
    Program { name: "find and sha256sum", script: TREE },
    Program { name: "grep", script: r"grep -r -n -F unsafe . | sort; grep -r -c '^use' . | sort" },
    Program {
        name: "tar",
        script: r"
            tar --sort=name --mtime=@1000000000 -cf ../$WHERE.tar .
            sha256sum < ../$WHERE.tar
            mkdir out && tar -xf ../$WHERE.tar -C out && rm ../$WHERE.tar
            cd out && find . -type f -print0 | sort -z | xargs -0 sha256sum
            find . -printf '%P %y %m %t\n' | grep -v '^ ' | sort
        ",
    },
    Program {
        name: "git",
        script: r"
            rm -rf out
            git init -q -b main .
            git config pack.threads 1
            git add -A
            git commit -q -m 'All of it'
            git rev-parse HEAD
            git status --porcelain
            find . -name '*.rs' -not -path './.git/*' | sort | head -20 | while read file; do echo '// more' >> $file; done
            git status --porcelain
            git diff | sha256sum
            git commit -q -a -m 'More of it'
            git checkout -q -b side HEAD~1
            git mv $(git ls-files | head -1) moved
            git commit -q -m 'Moved'
            git merge -q -m 'Merged' main
            git gc -q --prune=now
            git fsck --full --strict
            git rev-parse HEAD
            git clone -q . ../$WHERE.clone && git -C ../$WHERE.clone rev-parse HEAD && rm -rf ../$WHERE.clone
            git clone -q . inner && git -C inner status --porcelain && rm -rf inner
            git log --format='%H %s'
        ",
    },
    Program {
        name: "cargo",
        script: r#"
            mkdir crate && cd crate && cargo init -q --vcs none --name small .
            for number in 1 2 3 4 5 6 7 8; do
                echo "pub fn answer() -> u32 { $number }" > src/part$number.rs
                echo "mod part$number;" >> src/parts.rs
            done
            mkdir src/parts && mv src/part?.rs src/parts/
            printf 'pub fn sum() -> u32 { [part1::answer(), part5::answer(), part8::answer()].iter().sum() }\n' >> src/parts.rs
            printf 'mod parts;\nfn main() { println!("the sum is {}", parts::sum()); }\n' > src/main.rs
            cargo build -q --offline 2>/dev/null && target/debug/small
            sed -i 's/8/80/' src/parts/part8.rs
            cargo build -q --offline 2>/dev/null && ./target/debug/small
            cargo build --offline 2>&1 | grep -c Compiling || true
            cd .. && rm -rf crate
        "#,
    },
    Program {
        name: "sqlite3",
        script: r"
            for mode in wal delete truncate persist; do
                sqlite3 $mode.db 'PRAGMA journal_mode = '$mode';
                    CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t (v);
                    WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 20000)
                        INSERT INTO t SELECT x, hex(x * 7919) FROM n;'
                for part in 0 1 2 3; do
                    sqlite3 -cmd '.timeout 60000' $mode.db 'BEGIN IMMEDIATE;
                        UPDATE t SET v = v || '$part' WHERE k % 4 = '$part'; COMMIT;' &
                done
                wait
                sqlite3 $mode.db 'DELETE FROM t WHERE k % 3 = 0; VACUUM; PRAGMA integrity_check;
                    SELECT count(*), sum(k), max(v) FROM t;'
                sqlite3 $mode.db .dump | sha256sum
            done
            ls | grep db
        ",
    },
    Program { name: "the tree that is left", script: TREE },
    Program { name: "rm", script: r"find . -mindepth 1 -maxdepth 1 -exec rm -rf {} +; ls -A" },
];

impl Program {
    /// Runs it in `directory` and returns what it printed. `place` names the directory where it has to be told apart.
    pub(crate) fn run(&self, directory: &Path, place: &str) -> String {
        let mut command = Command::new("timeout");
        command
            .arg(PATIENCE.as_secs().to_string())
            .args(["sh", "-eu", "-c", self.script])
            .current_dir(directory)
            .stdin(Stdio::null())
            .env("WHERE", place)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Somebody");
            command.env(format!("GIT_{who}_EMAIL"), "somebody@example.org");
            command.env(format!("GIT_{who}_DATE"), "2001-02-03T04:05:06Z");
        }
        let output = command.output().expect("running timeout(1)");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{} in {}: {}\n{printed}{}",
            self.name,
            directory.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }
}
