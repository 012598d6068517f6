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
unpack 'sources/gcc 12.tar.xz' src
unpack sources/gmp.tar.zst src-gmp
unpack sources/site.conf src-conf

phase patch
cd src
echo 'patch 01-fix.patch' >&2
patch -p1 --batch --forward --input=../patches/01-fix.patch >&2
echo 'patch 02 odd name.patch' >&2
patch -p1 --batch --forward --input='../patches/02 odd name.patch' >&2
cd ..

phase prepare
cd /build/src
for f in "${files[@]}"; do sed -i s/a/b/ "$f"; done
mkdir -p /build/obj
cd /build/obj

phase configure
../src/configure \
  --prefix=/opt/gcc \
  --build=x86_64-pc-linux-gnu \
  --host=aarch64-vfsb-linux-musl \
  --disable-nls \
  --enable-languages=c,c++ \
  '--with-pkgversion=vfsb build'

phase build
touch stamp
cd /build/obj
make all V=1

phase install
make DESTDIR=/out install-strip
ln -s gcc /out/usr/bin/cc

# Libtool archives hold build paths, and every manual rewrites the index of info pages.
find /out '(' -name '*.la' -o -path '*/share/info/dir' ')' ! -type d -exec rm -f {} +
