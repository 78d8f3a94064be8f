resource "myelin_stack" "shop" {
  name      = "shop"
  namespace = "shop"
  source    = "${path.module}/k8s"

  images = {
    "example.com/shop/web" = "v1.4.2"
  }

  substitute = {
    HOST = "shop.example.com"
  }

  # Each component starts when those it names are ready.
  components = {
    database = { path = "database" }
    web      = { path = "web", after = ["database"], timeout = "5m" }
  }
}
