package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const lifetime = 24 * time.Hour

// pki is the certificate authority, its successor, and what they have issued as files of a directory.
type pki struct {
	directory string
	authority *authority
	serial    int64
	client    *http.Client
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// makePKI writes ca.pem, server.*, admin.*, controllers.*, accounts.key and the two kubeconfigs.
//
// ca.pem holds ca-old.pem, which has issued everything, and ca-new.pem, which everybody here trusts already. What the
// server may be given later is there, too: server-renewed.* of the old authority, and server-moved.* of the new one.
func makePKI(directory, url string) (*pki, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	made := &pki{directory: directory}
	var err error
	if made.authority, err = made.newAuthority("ca-old"); err != nil {
		return nil, err
	}
	next, err := made.newAuthority("ca-new")
	if err != nil {
		return nil, err
	}
	if err := made.join("ca.pem", "ca-old.pem", "ca-new.pem"); err != nil {
		return nil, err
	}
	for name, issuer := range map[string]*authority{
		"server": made.authority, "server-renewed": made.authority, "server-moved": next,
	} {
		if _, err := made.issueBy(issuer, name, made.server()); err != nil {
			return nil, err
		}
	}
	admin, err := made.issue("admin", made.template("admin", []string{"system:masters"}))
	if err != nil {
		return nil, err
	}
	made.client = clientOf(admin, made.authority, next)
	if _, err := made.issue("controllers", made.template("system:kube-controller-manager", nil)); err != nil {
		return nil, err
	}
	if _, err := made.issue("accounts", made.template("accounts", nil)); err != nil {
		return nil, err
	}
	if err := made.kubeconfig("admin", "kubeconfig", url); err != nil {
		return nil, err
	}
	return made, made.kubeconfig("controllers", "controllers.kubeconfig", url)
}

func (p *pki) template(name string, organizations []string) *x509.Certificate {
	p.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(p.serial),
		Subject:      pkix.Name{CommonName: name, Organization: organizations},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func (p *pki) server() *x509.Certificate {
	server := p.template("kube-apiserver", nil)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)}
	server.DNSNames = []string{"localhost", "kubernetes.default.svc"}
	return server
}

func (p *pki) newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := p.template(name, nil)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	template.ExtKeyUsage = nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate, key}, p.write(name+".pem", "CERTIFICATE", der)
}

func (p *pki) issue(name string, template *x509.Certificate) (tls.Certificate, error) {
	return p.issueBy(p.authority, name, template)
}

func (p *pki) issueBy(issuer *authority, name string, template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.certificate, key.Public(), issuer.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := p.write(name+".pem", "CERTIFICATE", der); err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, p.write(name+".key", "EC PRIVATE KEY", private)
}

func (p *pki) write(name, kind string, der []byte) error {
	encoded := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return os.WriteFile(filepath.Join(p.directory, name), encoded, 0o600)
}

// join writes one file of several.
func (p *pki) join(name string, parts ...string) error {
	whole := []byte{}
	for _, part := range parts {
		content, err := os.ReadFile(filepath.Join(p.directory, part))
		if err != nil {
			return err
		}
		whole = append(whole, content...)
	}
	return os.WriteFile(filepath.Join(p.directory, name), whole, 0o600)
}

// kubeconfig needs no other file: what it refers to is in it.
func (p *pki) kubeconfig(user, name, url string) error {
	data := map[string]string{}
	for _, file := range []string{"ca.pem", user + ".pem", user + ".key"} {
		content, err := os.ReadFile(filepath.Join(p.directory, file))
		if err != nil {
			return err
		}
		data[file] = base64.StdEncoding.EncodeToString(content)
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: control-plane, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: %s, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: control-plane, context: {cluster: control-plane, user: %s}}]
current-context: control-plane
`, url, data["ca.pem"], user, data[user+".pem"], data[user+".key"], user)
	return os.WriteFile(filepath.Join(p.directory, name), []byte(text), 0o600)
}
