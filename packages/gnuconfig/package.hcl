package "gnuconfig" {
  summary  = "The scripts by which configure knows the names of machines"
  version  = "20250710"
  license  = "GPL-3.0-or-later WITH Autoconf-exception-generic-3.0"
  profiles = ["gnu", "seed"]

  # They have no release of their own: every package of GNU carries a copy. The newest one here is that of util-linux.
  source {
    url    = "https://www.kernel.org/pub/linux/utils/util-linux/v2.41/util-linux-2.41.5.tar.xz"
    sha256 = "f586e35d320ff537aab3ffeca37e9ecd482ccbe013590db4429a414d8aa6a728"
    debian = { suite = "trixie", source = "util-linux" }
  }

  script {
    script = <<-SH
      cd config
      for file in config.guess config.sub; do
        grep -q "^timestamp='2025-07-10'" "$file"
        install -D -m 755 "$file" "/out/usr/share/gnuconfig/$file"
      done
    SH
  }
}
