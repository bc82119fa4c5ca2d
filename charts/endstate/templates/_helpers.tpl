{{/* The namespace is part of the protocol: agents and operator find each other's Leases in endstate-system of every cluster. */}}
{{- define "endstate.namespace" -}}
{{- if ne .Release.Namespace "endstate-system" -}}
{{- fail "endstate lives in the namespace endstate-system: helm install ... --namespace endstate-system --create-namespace" -}}
{{- end -}}
endstate-system
{{- end -}}

{{- define "endstate.selector" -}}
app.kubernetes.io/name: endstate-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "endstate.labels" -}}
{{ include "endstate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: endstate
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "endstate.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{- end -}}
{{- end -}}
{{- end -}}
