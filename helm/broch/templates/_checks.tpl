{{- /* What a schema cannot say, in words for who installs. */}}
{{- define "broch.checks" -}}
{{- $missing := list }}
{{- range $name, $why := dict
  "url" "the origin of the pages, such as https://tre.example.org"
  "hubUrl" "the origin of the hub; workspaces have names below it"
  "viewerUrl" "the origin of rendered files under review"
  "images.broch" "the image of the services, with its digest"
  "images.clamav" "the image of the scanner, with its digest"
  "images.prefixes" "where pods of zones may run images from, such as [registry.example.org/broch/]"
  "database.existingSecret" "the Secret with `url` and `owner-url` of PostgreSQL"
  "s3.blobs" "where bytes of airlock requests lie, such as s3://BUCKET/PREFIX"
  "oidc.issuer" "the provider that people sign in with"
  "datasets.source" "where zones mount datasets from, such as {type: nfs, server: ..., path: ...}"
  "zones.profiles" "what people choose workspaces from, at least one"
  "network.database" "where PostgreSQL is, such as [{cidr: 10.0.0.5/32, port: 5432}]"
  "network.s3" "where S3 is, such as [{cidr: 10.0.0.6/32, port: 443}]"
  "network.oidc" "where the provider is, such as [{cidr: 10.0.0.7/32, port: 443}]" }}
{{- $value := $.Values }}
{{- range splitList "." $name }}{{ $value = index $value . }}{{ end }}
{{- if empty $value }}{{ $missing = append $missing (printf "  %s: %s" $name $why) }}{{ end }}
{{- end }}
{{- if $missing }}
{{- fail (printf "These values are needed:\n%s" (join "\n" $missing)) }}
{{- end }}
{{- range .Values.network.ipFamilies }}
{{- if ne . "IPv4" }}
{{- fail "network.ipFamilies: dual-stack and IPv6 are refused. The isolation of zones was tried with IPv4 packets alone; a second address family would be a way past it that nobody looked at." }}
{{- end }}
{{- end }}
{{- if and .Values.tokens.generate .Values.tokens.existingSecret }}
{{- fail "tokens: either existingSecret or generate, not both." }}
{{- end }}
{{- if not (or .Values.tokens.generate .Values.tokens.existingSecret) }}
{{- fail "tokens.existingSecret: name the Secret with the tokens of the components (README.md says how to make it), or set tokens.generate for a trial." }}
{{- end }}
{{- if and .Values.tokens.generate (not .Values.oidc.secret) }}
{{- fail "oidc.secret: tokens.generate needs the client secret of the provider." }}
{{- end }}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuer.name) }}
{{- fail "tls.certManager.issuer.name: name the issuer of an authority of your own." }}
{{- end }}
{{- range $name := list "url" "hubUrl" "viewerUrl" }}
{{- if hasSuffix ":443" (index $.Values $name) }}
{{- fail (printf "%s: leave out ':443'. Browsers do not say the usual port, so no page would be answered." $name) }}
{{- end }}
{{- end }}
{{- if eq (include "broch.host" .Values.url) (include "broch.host" .Values.viewerUrl) }}
{{- fail "viewerUrl: rendered files need a host of their own, without cookies; it must not be that of url." }}
{{- end }}
{{- if eq (include "broch.host" .Values.url) (include "broch.host" .Values.hubUrl) }}
{{- fail "hubUrl: workspaces need hosts of their own; it must not be that of url." }}
{{- end }}
{{- if eq (include "broch.host" .Values.hubUrl) (include "broch.host" .Values.viewerUrl) }}
{{- fail "viewerUrl: rendered files need a host of their own; it must not be that of hubUrl." }}
{{- end }}
{{- $names := list }}
{{- range .Values.zones.profiles }}{{ $names = append $names .name }}{{ end }}
{{- if ne (len $names) (len (uniq $names)) }}
{{- fail (printf "zones.profiles: two have one name (%s)." (join ", " $names)) }}
{{- end }}
{{- if and .Values.public.ingress.enabled (not (and .Values.public.ingress.webSecret .Values.public.ingress.hubSecret)) }}
{{- fail "public.ingress: webSecret and hubSecret name the certificates for browsers; there is no entrance without TLS." }}
{{- end }}
{{- if and .Values.public.gateway.enabled (not (and .Values.public.gateway.parentRefs .Values.public.gateway.caConfigMap)) }}
{{- fail "public.gateway: parentRefs and caConfigMap are needed." }}
{{- end }}
{{- if .Values.packages.enabled }}
{{- if not .Values.network.packages }}
{{- fail "network.packages: say where the registries of packages are, such as [{cidr: 10.2.0.8/32, port: 443}], or leave packages.enabled off." }}
{{- end }}
{{- if not (join "" (values .Values.packages.registries)) }}
{{- fail "packages.registries: name at least one registry, such as {pypi: https://pypi.org}, or leave packages.enabled off." }}
{{- end }}
{{- end }}
{{- $prefixes := .Values.images.prefixes }}
{{- range prepend (.Values.zones.profiles | default list) (dict "name" "images.broch" "image" .Values.images.broch) }}
{{- $image := .image }}
{{- $found := false }}
{{- range $prefixes }}{{ if hasPrefix . $image }}{{ $found = true }}{{ end }}{{ end }}
{{- if not $found }}
{{- fail (printf "images.prefixes: the image of '%s' (%s) begins with none of them, so no zone could run it." .name $image) }}
{{- end }}
{{- end }}
{{- end }}
