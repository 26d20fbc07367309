package main

// The control plane's certificates and keys: made fresh for every one, trusted
// nowhere else.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// authority signs the certificates of one control plane.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// pair is a certificate with its private key, PEM.
type pair struct{ cert, key []byte }

// template is valid far around now: tests move a process's clock.
func template(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    time.Now().AddDate(-1, 0, 0),
		NotAfter:     time.Now().AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}, nil
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t, err := template(pkix.Name{CommonName: "controlplane-ca"})
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage |= x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key, pemOf("CERTIFICATE", der)}, nil
}

func (a *authority) issue(subject pkix.Name, usage x509.ExtKeyUsage, names []string, ips []net.IP) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	t, err := template(subject)
	if err != nil {
		return pair{}, err
	}
	t.ExtKeyUsage, t.DNSNames, t.IPAddresses = []x509.ExtKeyUsage{usage}, names, ips
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return pair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{pemOf("CERTIFICATE", der), pemOf("PRIVATE KEY", private)}, nil
}

// client issues a client certificate for a member of system:masters.
func (a *authority) client(name string) (pair, error) {
	return a.clientOf(name, "system:masters")
}

func (a *authority) clientOf(name, group string) (pair, error) {
	subject := pkix.Name{CommonName: name, Organization: []string{group}}
	return a.issue(subject, x509.ExtKeyUsageClientAuth, nil, nil)
}

// server issues the certificate of the API server, and of a node's kubelet.
func (a *authority) server(node string) (pair, error) {
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)}
	if address := net.ParseIP(node); address != nil {
		ips = append(ips, address)
	}
	return a.issue(pkix.Name{CommonName: "kube-apiserver"}, x509.ExtKeyUsageServerAuth, names, ips)
}

// serviceAccountKeys makes the pair that signs ServiceAccount tokens; RSA,
// because every verifier of such tokens in the clouds reads RS256.
func serviceAccountKeys() (private, public []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	return pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), pemOf("PUBLIC KEY", der), nil
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// writeKubeconfig writes a kubeconfig (JSON is YAML) for a client certificate.
func writeKubeconfig(path, server string, ca []byte, user string, client pair) error {
	b64 := base64.StdEncoding.EncodeToString
	type object = map[string]any
	config := object{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": user,
		"clusters": []object{{"name": "controlplane", "cluster": object{
			"server": server, "certificate-authority-data": b64(ca),
		}}},
		"users": []object{{"name": user, "user": object{
			"client-certificate-data": b64(client.cert), "client-key-data": b64(client.key),
		}}},
		"contexts": []object{{"name": user, "context": object{"cluster": "controlplane", "user": user}}},
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}
