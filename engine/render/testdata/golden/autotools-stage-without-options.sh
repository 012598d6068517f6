set -euo pipefail
umask 022
cd /build

# phase NAME: tells the engine, on a line of its own, what begins.
phase() {
  printf '@vfsb phase %s\n' "$1"
}

# unpack FILE FOLDER: an archive without its top folder; any other file as it is.
unpack() {
  mkdir -p "$2"
  case $1 in
    *.tar | *.tar.* | *.tgz | *.tbz2 | *.txz | *.tzst)
      tar --extract --no-same-owner --strip-components=1 --file "$1" --directory "$2" ;;
    *)
      cp "$1" "$2/" ;;
  esac
}

phase unpack
mkdir -p src
unpack sources/zlib-1.3.1.tar.gz src

phase prepare
cd /build/src
mkdir -p /build/obj
cd /build/obj

phase configure
../src/configure \
  --prefix=/usr

phase build
make 

phase install
make DESTDIR=/out install

# Libtool archives hold build paths, and every manual rewrites the index of info pages.
find /out '(' -name '*.la' -o -path '*/share/info/dir' ')' ! -type d -exec rm -f {} +
