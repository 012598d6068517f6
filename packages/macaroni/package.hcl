package "macaroni" {
  summary = "What stage1 holds besides to become a MacaroniOS: settings of Portage and ego, the list of what is installed"
  version = "1"
  license = "MIT"
  profile = "gnu"

  source "ego-core-kit" { file = "files/ego-core-kit" }
  source "ego.conf" { file = "files/ego.conf" }
  source "installed" { file = "files/installed" }
  source "make.conf" { file = "files/make.conf" }

  # The profile is made of parents in core-kit, which "ego sync" brings: architecture, build, its most general variant, flavor.
  # Mix-ins would come last; a stage has none.
  script {
    bootstrap = true
    vars = {
      keyword = lookup({ armv7 = "arm", i686 = "x86", riscv64 = "riscv" }, platform.arch, platform.arch)
      arch = lookup({
        amd64 = "x86-64bit", arm64 = "arm-64bit", armv7 = "arm-32bit", i686 = "x86-32bit", riscv64 = "riscv-64bit",
      }, platform.arch, "")
      subarch = lookup({
        amd64 = "generic_64", arm64 = "arm64_generic", armv7 = "armv7a_hardfp", i686 = "i686",
      }, platform.arch, "")
      chost = lookup({
        amd64 = "x86_64-pc-linux-gnu", arm64 = "aarch64-unknown-linux-gnu", armv7 = "armv7a-hardfloat-linux-gnueabi",
        i686  = "i686-pc-linux-gnu", riscv64 = "riscv64-unknown-linux-gnu",
      }, platform.arch, platform.triplet)
    }
    script = <<-SH
      cd /out
      mkdir -p etc/portage/make.profile etc/portage/repos.conf var/cache/edb var/git var/lib/portage
      mkdir -p var/cache/portage/distfiles var/cache/portage/packages var/tmp/portage
      install -m 0644 /build/sources/ego.conf etc/ego.conf
      install -m 0644 /build/sources/make.conf etc/portage/make.conf
      install -m 0644 /build/sources/ego-core-kit etc/portage/repos.conf/ego-core-kit
      {% if vars.subarch == "" %}
      echo 'CHOST="{{ vars.chost }}"' >> etc/portage/make.conf # which a profile has of its most general variant
      {% endif %}
      # Ebuilds call the tools by the profile's name of the machine, which is not stage1's.
      mkdir -p usr/bin
      for tool in addr2line ar as c++ c++filt cpp g++ gcc ld nm objcopy objdump ranlib readelf size strings strip; do
        ln -s "$tool" "usr/bin/{{ vars.chost }}-$tool"
      done
      {
        echo core-kit:funtoo/1.0/linux-gnu/arch/{{ vars.arch }}
        echo core-kit:funtoo/1.0/linux-gnu/build/mark
        {% if vars.subarch != "" %}
        echo core-kit:funtoo/1.0/linux-gnu/arch/{{ vars.arch }}/subarch/{{ vars.subarch }}
        {% endif %}
        echo core-kit:funtoo/1.0/linux-gnu/flavor/core
      } > etc/portage/make.profile/parent
      : > var/lib/portage/world

      # Portage's database. An entry says that a package is there, so that it is no dependency to be merged first. It owns no
      # file: what the distribution's package of that name merges takes the place of what lies there.
      counter=0
      grep -v '^#' /build/sources/installed | while read -r package name package_version slot; do
        counter=$((counter + 1))
        entry=/out/var/db/pkg/$name-$package_version
        mkdir -p "$entry"
        : > "$entry/CONTENTS"
        echo "$counter" > "$entry/COUNTER"
        echo 1767225600 > "$entry/BUILD_TIME" # as the files' own time
        echo "${name%/*}" > "$entry/CATEGORY"
        echo "${name#*/}-$package_version" > "$entry/PF"
        echo "$slot" > "$entry/SLOT"
        echo 7 > "$entry/EAPI"
        echo {{ vars.chost }} > "$entry/CHOST"
        echo {{ vars.keyword }} > "$entry/KEYWORDS"
        echo core-kit > "$entry/repository"
        echo "//$package of stage1" > "$entry/DESCRIPTION"
      done
    SH
    attrs = [
      { path = "var/cache/edb", mode = "2775", gid = 250 },
      { path = "var/cache/portage/distfiles", mode = "2775", uid = 250, gid = 250 },
      { path = "var/lib/portage", mode = "2755", gid = 250 },
      { path = "var/lib/portage/world", mode = "0644", gid = 250 },
      { path = "var/tmp", mode = "1777" }, # as in stage1
      { path = "var/tmp/portage", mode = "0775", uid = 250, gid = 250 },
    ]
  }
}
