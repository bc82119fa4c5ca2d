# shellcheck shell=bash
# The cluster's keys and certificates, below $RUN_DIR/pki. To be sourced by up.sh after hack/lib.sh.
#
# Two authorities, as kubeadm has: whoever may ask the API server has no way to etcd by that. ECDSA P-256: made in milliseconds.

readonly PKI=$RUN_DIR/pki

make_ca() {
  [[ -s $PKI/$1.crt ]] || openssl req -x509 -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout "$PKI/$1.key" -out "$PKI/$1.crt" \
    -days 3650 -subj "/CN=endstate-$1" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>>"$PKI/openssl.log"
}

# make_certificate NAME CA SUBJECT [SAN]: made anew a day before it ends.
make_certificate() {
  local name=$1 ca=$2 subject=$3 san=${4:-}
  if [[ -s $PKI/$name.crt ]] && openssl x509 -in "$PKI/$name.crt" -noout -checkend 86400 >/dev/null; then return 0; fi
  openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout "$PKI/$name.key" -out "$PKI/$name.csr" -subj "$subject" 2>>"$PKI/openssl.log"
  openssl x509 -req -in "$PKI/$name.csr" -CA "$PKI/$ca.crt" -CAkey "$PKI/$ca.key" -out "$PKI/$name.crt" -days 365 -extfile <(
    echo "basicConstraints=critical,CA:FALSE"
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=serverAuth,clientAuth"
    [[ -z $san ]] || echo "subjectAltName=$san"
  ) 2>>"$PKI/openssl.log"
  rm -f "$PKI/$name.csr"
}

make_pki() {
  (
    umask 077
    mkdir -p "$PKI"
    make_ca ca
    make_ca etcd-ca
    make_certificate etcd etcd-ca /CN=etcd DNS:localhost,IP:127.0.0.1
    make_certificate etcd-client etcd-ca /CN=kube-apiserver
    # One serving certificate for all that listen here; 10.96.0.1 is the `kubernetes` Service. SERVING_NAMES: the caller's, as openssl writes them.
    make_certificate serving ca /CN=kube-apiserver \
      DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:10.96.0.1${SERVING_NAMES:+,$SERVING_NAMES}
    make_certificate admin ca /O=system:masters/CN=endstate-admin
    make_certificate controller-manager ca /CN=system:kube-controller-manager
    make_certificate scheduler ca /CN=system:kube-scheduler
    [[ -s $PKI/service-account.key ]] || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$PKI/service-account.key" 2>>"$PKI/openssl.log"
    [[ -s $PKI/service-account.pub ]] || openssl pkey -in "$PKI/service-account.key" -pubout -out "$PKI/service-account.pub"
  )
}

# write_kubeconfig FILE NAME SERVER: with the certificate of that name inside, so that the file may be copied away.
write_kubeconfig() {
  (
    umask 077
    cat >"$1.part" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: endstate
  cluster: {server: "$3", certificate-authority-data: $(base64 -w 0 "$PKI/ca.crt")}
users:
- name: $2
  user: {client-certificate-data: $(base64 -w 0 "$PKI/$2.crt"), client-key-data: $(base64 -w 0 "$PKI/$2.key")}
contexts:
- name: endstate
  context: {cluster: endstate, user: $2}
current-context: endstate
YAML
    mv -f "$1.part" "$1"
  )
}
