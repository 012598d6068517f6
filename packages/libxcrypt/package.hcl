package "libxcrypt" {
  summary  = "crypt(): hashes of passwords"
  version  = "4.4.38"
  license  = "LGPL-2.1-or-later"
  profiles = ["gnu", "seed"]

  # Upstream's release has a configure and is another file, of sha256
  # 80304b9c306ea799327f01d9a7549bdb28317789182631f1b54f4511b4206dd6; the recipe is for Debian's, which has none.
  source {
    debian = {
      suite  = "trixie"
      source = "libxcrypt"
      sha256 = "6a275a356622c64ba9f693892215dbb399c003a7a4afeed9c4c74070eaab20f4"
    }
  }

  script {
    script = "libxcrypt.sh.j2"
  }
}
