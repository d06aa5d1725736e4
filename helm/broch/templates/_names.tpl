{{/* Name of a component: broch.name (list $ "web") */}}
{{- define "broch.name" -}}
{{- printf "%s-%s" (index . 0).Release.Name (index . 1) -}}
{{- end }}

{{- define "broch.selector" -}}
app.kubernetes.io/name: broch
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "broch.labels" -}}
{{ include "broch.selector" . }}
app.kubernetes.io/part-of: broch
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end }}

{{- define "broch.metadata" -}}
name: {{ include "broch.name" . }}
namespace: {{ (index . 0).Release.Namespace }}
labels: {{- include "broch.labels" . | nindent 2 }}
{{- end }}

{{/* Host of an origin, without scheme and port */}}
{{- define "broch.host" -}}
{{- (urlParse .).hostname -}}
{{- end }}

{{- define "broch.sandboxes" -}}
{{ .Release.Name }}-sandboxes
{{- end }}

{{- define "broch.tokens" -}}
{{ .Values.tokens.existingSecret | default (printf "%s-tokens" .Release.Name) }}
{{- end }}

{{- define "broch.tlsSecret" -}}
{{ index (index . 0).Values.tls.secrets (index . 1) | default (printf "%s-tls" (include "broch.name" .)) }}
{{- end }}

{{/* Every place that zones may mount data from, as a JSON list under the key "sources" */}}
{{- define "broch.sources" -}}
{{ dict "sources" (prepend .Values.zones.sources .Values.datasets.source) | toJson }}
{{- end }}
