output "entrances" {
  description = "For DNS: the hosts of each entrance, and the load balancer's name or address that they point at (null where there is none yet, or no load balancer)."
  value = {
    web = {
      hosts   = [local.hosts.web, local.hosts.viewer]
      service = "${var.release}-web-public"
      target  = try(one([for at in data.kubernetes_service_v1.entrance["web"].status[0].load_balancer[0].ingress : coalesce(at.hostname, at.ip)]), null)
    }
    hub = {
      hosts   = [local.hosts.hub, "*.${local.hosts.hub}"]
      service = "${var.release}-hub-public"
      target  = try(one([for at in data.kubernetes_service_v1.entrance["hub"].status[0].load_balancer[0].ingress : coalesce(at.hostname, at.ip)]), null)
    }
  }
}

output "namespace" {
  description = "Namespace of the services."
  value       = var.namespace.name
}

output "versions" {
  description = "Versions of the chart and of Broch that are installed."
  value = {
    chart = helm_release.broch.metadata.version
    broch = helm_release.broch.metadata.app_version
  }
}
