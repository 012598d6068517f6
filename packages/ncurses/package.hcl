package "ncurses" {
  summary = "Terminal handling: libraries, programs and descriptions of common terminals"
  version = "6.5-20250216"
  license = "X11-distribute-modifications-variant"

  # A weekly snapshot, for which upstream publishes no digest.
  source {
    debian = {
      suite  = "trixie"
      source = "ncurses"
      sha256 = "b37baafa436e7133bb12a185cb8f60e1599b1947e9f0181c76f3190acf28b6eb"
    }
  }

  # The compiler of descriptions, to run here: it must be of the same version.
  autotools "tic" {
    stage    = "cross_tools"
    profiles = ["gnu", "musl"]
    env      = { LDFLAGS = profile == "gnu" ? "-s -static" : "-s" }
    configure = [
      "--disable-widec", "--with-normal", "--without-ada", "--without-cxx", "--without-cxx-binding", "--without-debug",
      "--without-manpages", "--without-shared", "--without-tests",
    ]
    make    = ["-C", "include"]
    install = ["-C", "ncurses"]
    after   = <<-SH
      make -C progs tic
      install -D progs/tic /out/cross/bin/tic
    SH
  }

  # The names of the libraries carry no w, although characters may be wide.
  autotools {
    tools = profile == "seed" ? [] : ["//ncurses/tic"]
    configure = [
      "--disable-lib-suffixes", "--disable-stripping", "--enable-mixed-case", "--enable-overwrite", "--enable-pc-files", "--enable-widec",
      "--with-build-cc=gcc", "--with-default-terminfo-dir=/usr/share/terminfo", "--with-pkg-config-libdir=/usr/${platform.lib}/pkgconfig",
      "--with-shared", "--with-termlib", "--without-ada", "--without-cxx", "--without-cxx-binding", "--without-debug",
      "--without-manpages", "--without-normal", "--without-tests",
    ]
    install = ["install.libs", "install.includes", "install.progs"]
    after   = <<-SH
      # Of two thousand terminals, those that people sit at.
      tic=tic
      if [[ -z $(type -P tic) ]]; then
        tic=/build/obj/progs/tic
        export LD_LIBRARY_PATH=/build/obj/lib
      fi
      {% if profile == "seed" %}
      # Here the options of the linker name the sysroot. They are not for those who link with the library.
      sed -i 's# -L/sysroot/usr/lib##; s# -Wl,-rpath-link,/sysroot/usr/lib##' /out/usr/bin/ncurses6-config /out/usr/lib/pkgconfig/*.pc
      {% endif %}
      mkdir -p /out/usr/share/terminfo
      "$tic" -x -o /out/usr/share/terminfo -e \
        alacritty,ansi,dumb,foot,linux,rxvt-unicode-256color,screen,screen-256color,tmux,tmux-256color,vt100,vt102,vt220,xterm,xterm-256color,xterm-color,xterm-kitty \
        /build/src/misc/terminfo.src
    SH
  }
}
