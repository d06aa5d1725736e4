// The smallest server that a hub takes for a notebook's: it answers everything with an empty object, as soon as it runs.
// By TLS where the pod was given a key (Broch), else in the clear (a stock KubeSpawner).
package main

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	server := &http.Server{Addr: ":8888", Handler: handler}
	key, certificate := os.Getenv("BROCH_TLS_KEY"), os.Getenv("BROCH_TLS_CERTIFICATE")
	if key == "" {
		log.Fatal(server.ListenAndServe())
	}
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		log.Fatal(err)
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	log.Fatal(server.ListenAndServeTLS("", ""))
}
